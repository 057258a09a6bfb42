package main

import (
	"fmt"
	"path/filepath"

	"tidemark/bench/rig"
)

// eventRate is how many writes a second watch hears.
const eventRate = 50_000

// hear measures the processor time that an event costs watch.
func (b *bench) hear(work string) error {
	var leaves [2][]string
	for i, build := range b.builds {
		var err error
		if leaves[i], err = rig.Tree(filepath.Join(work, build.name), 10, 10, 10, 100); err != nil {
			return err
		}
	}
	for _, backend := range []string{"fanotify", "inotify"} {
		note("%d events a second, %s", eventRate, backend)
		var each [2][]float64
		err := turns(b.rounds, func(i int) error {
			p, err := rig.Start(work, b.builds[i].program("watch"), "--backend", backend, filepath.Join(work, b.builds[i].name))
			if err != nil {
				return err
			}
			defer p.Stop()
			if err := p.WaitFor("armed"); err != nil {
				return err
			}
			made, spent, err := rig.Overwrite(p, leaves[i], eventRate, b.events)
			if err == nil {
				each[i] = append(each[i], float64(spent.Microseconds())/float64(made))
			}
			return err
		})
		if err != nil {
			return err
		}
		medians(fmt.Sprintf("%s events a second, %s: processor time of watch an event", thousands(eventRate), backend), "≤ 1.1", "%.2f µs", each)
	}
	return nil
}
