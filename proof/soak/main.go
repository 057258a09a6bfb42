// Soak runs every test that looks for lost changes, wrong deletions and torn files, each
// for its share of the time, and ends with a table of what was tried.
//
//	go run ./proof/soak -for 1h
//	go run ./proof/soak -for 10m -only world,wire
//
// It needs root and the programs in tools/deps. A failure is printed as it comes, with
// the command that replays it; the other parts go on. The exit code is 1 if a part
// failed. Output of every part is kept in the directory that the first line names.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	total := flag.Duration("for", time.Hour, "how long all parts go on together")
	only := flag.String("only", "", "the parts to run, with commas between")
	lanes := flag.Int("lanes", 2, "how many parts run at once")
	flag.Parse()
	chosen, err := choose(*only)
	if err == nil {
		err = soak(chosen, *total, *lanes)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// choose returns the parts that are named, or all of them.
func choose(names string) ([]part, error) {
	if names == "" {
		return parts, nil
	}
	var chosen []part
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no part named %q", name)
		}
		chosen = append(chosen, parts[i])
	}
	return chosen, nil
}

// soak runs the parts, as many at once as there are lanes, and prints the table.
func soak(chosen []part, total time.Duration, lanes int) error {
	dir, err := os.MkdirTemp("", "tidemark-soak-")
	if err != nil {
		return err
	}
	fmt.Println("output in", dir)
	shares := 0
	for _, p := range chosen {
		shares += p.share
	}
	results := make([]result, len(chosen))
	queue := make(chan int)
	var workers sync.WaitGroup
	for range lanes {
		workers.Go(func() {
			for i := range queue {
				p := chosen[i]
				budget := total * time.Duration(lanes*p.share) / time.Duration(shares)
				results[i] = p.run(dir, min(budget, total))
			}
		})
	}
	for i := range chosen {
		queue <- i
	}
	close(queue)
	workers.Wait()
	return report(os.Stdout, results)
}
