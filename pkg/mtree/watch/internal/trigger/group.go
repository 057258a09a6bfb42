package trigger

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// group is a process group that a hook began; 0 if the hook could not be started.
type group int

// gone reports whether all processes of the group have ended.
func (g group) gone() bool {
	return g == 0 || syscall.Kill(-int(g), 0) != nil || !g.has(func(processStat) bool { return true })
}

// foreign reports whether the group is not ours any more: all that the hook began has
// ended, and others may have its number by now. A group lies within one session, and a
// hook's session is the watcher's.
func (g group) foreign() bool {
	own, ok := statOf("self")
	return !ok || g.gone() || !g.has(func(p processStat) bool { return p.session == own.session })
}

// has reports whether a process of the group runs for which match is true. Cost: one
// read for each process of the machine.
func (g group) has(match func(processStat) bool) bool {
	processes, err := os.ReadDir("/proc")
	return err == nil && slices.ContainsFunc(processes, func(p os.DirEntry) bool {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			return false
		}
		s, ok := statOf(p.Name())
		return ok && s.group == g && s.state != 'Z' && match(s)
	})
}

// processStat is a part of what proc_pid_stat(5) says about a process.
type processStat struct {
	state   byte // 'Z': it has ended, and its parent has not noticed
	group   group
	session int
}

// statOf reads the stat of a process, "self" for ours.
func statOf(pid string) (s processStat, ok bool) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	name := bytes.LastIndexByte(text, ')') // the name may hold anything
	if err != nil || name < 0 {
		return s, false
	}
	fields := bytes.Fields(text[name+1:]) // state, ppid, pgrp, session, ...
	if len(fields) < 4 {
		return s, false
	}
	pgrp, err1 := strconv.Atoi(string(fields[2]))
	session, err2 := strconv.Atoi(string(fields[3]))
	return processStat{fields[0][0], group(pgrp), session}, err1 == nil && err2 == nil
}

// endGroups ends all processes of the groups: SIGTERM first, then SIGKILL for those
// that still run after the grace.
func endGroups(groups []group, grace time.Duration) {
	for _, g := range groups {
		g.signal(syscall.SIGTERM)
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(grace); time.Now().Before(end); <-look.C {
		if groups = slices.DeleteFunc(groups, group.gone); len(groups) == 0 {
			return
		}
	}
	for _, g := range groups {
		g.signal(syscall.SIGKILL)
	}
}

func (g group) signal(s syscall.Signal) {
	if g != 0 {
		_ = syscall.Kill(-int(g), s) // it may have ended
	}
}
