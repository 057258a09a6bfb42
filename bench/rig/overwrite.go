package rig

import (
	"fmt"
	"os"
	"time"
)

// Overwrite overwrites the first ten files of all leaves, directories of Tree, in turn,
// rate times a second in bursts of a millisecond. The files stay open, so each write is
// one event. It returns how many writes there were, and the processor time that p, which
// hears them, spent.
func Overwrite(p *Program, leaves []string, rate int, length time.Duration) (made int, spent time.Duration, err error) {
	var files []*os.File
	for k := range 10 {
		for _, leaf := range leaves {
			f, err := os.OpenFile(fmt.Sprintf("%s/f%05d", leaf, k), os.O_WRONLY, 0)
			if err != nil {
				return 0, 0, err
			}
			defer f.Close()
			files = append(files, f)
		}
	}
	before, err := p.Counts()
	if err != nil {
		return 0, 0, err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < length; <-tick.C {
		for due := int(time.Since(began).Seconds() * float64(rate)); made < due; made++ {
			if _, err := files[made%len(files)].WriteAt([]byte("x"), 0); err != nil {
				return made, 0, err
			}
		}
	}
	<-time.After(500 * time.Millisecond) // p still works on the last events
	after, err := p.Counts()
	return made, after.CPU - before.CPU, err
}
