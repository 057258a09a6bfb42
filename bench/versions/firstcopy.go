package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"tidemark/bench/rig"
)

// firstCopy measures a copy into an empty directory beside rsync from its daemon and
// tar | tar. Each build has a tree, and the peers run beside its servers.
func (b *bench) firstCopy(work string) error {
	note("first copies of %d files", b.copied)
	var wall, cpu, served, toRsync, toTar [2][]float64
	copies, err := rig.Scratch(b.copies)
	if err != nil {
		return err
	}
	defer os.RemoveAll(copies)
	var sites [2]*site
	for i, build := range b.builds {
		s := &site{copy: filepath.Join(copies, build.name), place: place{build: build, source: filepath.Join(work, build.name, "source"), logs: filepath.Join(work, build.name)}}
		if err := rig.Source(s.source, b.copied); err != nil {
			return err
		}
		sites[i] = s
	}
	err = turns(2*b.rounds-1, func(i int) error {
		costs, sent, err := sites[i].copies()
		if err != nil {
			return fmt.Errorf("%s: %w", b.builds[i].name, err)
		}
		ours := costs[0].Wall.Seconds()
		wall[i] = append(wall[i], ours)
		cpu[i] = append(cpu[i], float64(costs[0].CPU.Microseconds())/float64(b.copied))
		served[i] = append(served[i], float64(sent.Microseconds())/float64(b.copied))
		toRsync[i] = append(toRsync[i], ours/costs[1].Wall.Seconds())
		toTar[i] = append(toTar[i], ours/costs[2].Wall.Seconds())
		return nil
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("first copy of %s files of 0 to 4 KiB: ", thousands(int64(b.copied)))
	medians(what+"time", "", "%.2f s", wall)
	medians(what+"beside rsync's daemon", "≤ 0.45 ×", "%.2f ×", toRsync)
	medians(what+"beside tar \\| tar", "≤ 0.9 ×", "%.2f ×", toTar)
	medians(what+"processor time of mirror a file", "", "%.1f µs", cpu)
	medians(what+"processor time of serve a file", "", "%.1f µs", served)
	return nil
}

// site is a place of a first copy.
type site struct {
	place
	copy string
}

// copies makes one with mirror, one with rsync and one with tar. It returns what they cost,
// and the processor time of serve for the first.
func (s *site) copies() (costs [3]rig.Cost, sent time.Duration, err error) {
	t, err := s.start(false, nil)
	if err != nil {
		return costs, 0, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	daemon, port, err := s.daemon()
	if err != nil {
		return costs, 0, err
	}
	defer daemon.Stop()
	before, err := t.counts()
	if err != nil {
		return costs, 0, err
	}
	to := s.copy
	if costs[0], err = s.into(to, s.program("mirror"), "--once", "http://"+t.address+"/", to); err != nil {
		return costs, 0, err
	}
	after, err := t.counts()
	if err != nil {
		return costs, 0, err
	}
	if costs[1], err = s.into(to, "rsync", "-a", "rsync://127.0.0.1:"+port+"/tree/", to+"/"); err != nil {
		return costs, 0, err
	}
	costs[2], err = s.into(to, "sh", "-c", `tar -C "$1" --exclude ./.tidemark -cf - . | tar -C "$2" -xf -`, "tar", s.source, to)
	return costs, after[1].CPU - before[1].CPU, err
}

// into runs a command that copies the tree into a new directory, and removes the copy.
func (s *site) into(to string, command ...string) (cost rig.Cost, err error) {
	if err := os.Mkdir(to, 0o755); err != nil {
		return cost, err
	}
	if cost, err = rig.Command(command...); err != nil {
		return cost, err
	}
	err = errors.Join(rig.SameSize(s.source, to), os.RemoveAll(to))
	<-time.After(200 * time.Millisecond) // the kernel frees memory meanwhile
	return cost, err
}

// daemon starts rsync's daemon.
func (s *site) daemon() (p *rig.Program, port string, err error) {
	port, err = rig.FreePort()
	if err != nil {
		return nil, "", err
	}
	config := filepath.Join(s.logs, "rsyncd.conf")
	text := fmt.Sprintf("use chroot = no\nlog file = /dev/null\n[tree]\npath = %s\nuid = root\ngid = root\nexclude = /.tidemark\n", s.source)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, "", err
	}
	p, err = rig.Start(s.logs, "rsync", "--daemon", "--no-detach", "--address=127.0.0.1", "--port="+port, "--config="+config)
	if err != nil {
		return nil, "", err
	}
	return p, port, rig.Await(func() bool { return exec.Command("rsync", "rsync://127.0.0.1:"+port+"/").Run() == nil })
}
