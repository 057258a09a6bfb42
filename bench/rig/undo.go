package rig

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// undo is what a benchmark leaves behind when a signal ends it: programs that run, and scratch
// directories. The first of either makes it listen for signals.
var undo = struct {
	sync.Mutex
	once   sync.Once
	groups map[int]bool // process groups, each by the number of the program that leads it
	dirs   map[string]bool
}{groups: map[int]bool{}, dirs: map[string]bool{}}

// grace is how long programs may take to end when they are told to.
const grace = 10 * time.Second

// remember has a process group ended and a directory removed if a signal ends the benchmark.
func remember(group int, dir string) {
	undo.once.Do(func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		go func() {
			<-signals
			undo.Lock() // for good: nothing starts from now on
			undoAll()
			os.Exit(130)
		}()
	})
	if group > 0 {
		undo.groups[group] = true
	}
	if dir != "" {
		undo.dirs[dir] = true
	}
}

// forget is for what has ended, or is removed.
func forget(group int, dir string) {
	undo.Lock()
	defer undo.Unlock()
	delete(undo.groups, group)
	delete(undo.dirs, dir)
}

func undoAll() {
	for group := range undo.groups {
		_ = syscall.Kill(-group, syscall.SIGTERM)
	}
	for deadline := time.Now().Add(grace); time.Now().Before(deadline) && anyRuns(); <-time.After(20 * time.Millisecond) {
	}
	for group := range undo.groups {
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
	for dir := range undo.dirs {
		_ = os.RemoveAll(dir)
	}
}

// anyRuns reports whether something still runs of what was started. It waits for what has ended, which would
// count as running; nobody else needs to know by now.
func anyRuns() bool {
	for group := range undo.groups {
		for pid, err := syscall.Wait4(-group, nil, syscall.WNOHANG, nil); pid > 0 && err == nil; {
			pid, err = syscall.Wait4(-group, nil, syscall.WNOHANG, nil)
		}
		if syscall.Kill(-group, 0) == nil {
			return true
		}
	}
	return false
}

// Scratch makes a new directory in dir, in memory if dir is "". A signal that ends the benchmark
// removes it; else RemoveScratch must.
func Scratch(dir string) (string, error) {
	if dir == "" {
		dir = "/dev/shm"
	}
	undo.Lock()
	defer undo.Unlock()
	made, err := os.MkdirTemp(dir, "tidemark-bench-")
	if err == nil {
		remember(0, made)
	}
	return made, err
}

// RemoveScratch removes a directory that Scratch made.
func RemoveScratch(dir string) {
	_ = os.RemoveAll(dir)
	forget(0, dir)
}
