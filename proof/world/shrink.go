package world

import (
	"slices"
	"sync"
	"time"
)

// Shrink leaves out steps while the rest still leads to a finding of the same kind, for
// some time at most. Programs are not deterministic: that a list fails proves something,
// that it passes does not. So times is how often the smallest list failed of tries.
func Shrink(steps []Step, found Played, budget time.Duration) (smallest []Step, times, tries int) {
	end := time.Now().Add(budget)
	fails := func(candidate []Step) bool {
		played, err := Play(candidate, "")
		return err == nil && played.kindOf() == found.kindOf()
	}
	begin, rest := steps[:1], steps[1:]
	for chunk := (len(rest) + 1) / 2; chunk > 0 && time.Now().Before(end); {
		i := firstOf(candidates(rest, chunk), func(c []Step) bool {
			return time.Now().Before(end) && fails(slices.Concat(begin, c))
		})
		switch {
		case i != nil:
			rest = i
			chunk = min(chunk, (len(rest)+1)/2)
		case chunk == 1:
			chunk = 0
		default:
			chunk = (chunk + 1) / 2
		}
	}
	smallest = slices.Concat(begin, rest)
	for tries < 6 && time.Now().Before(end.Add(budget)) {
		if tries++; fails(smallest) {
			times++
		}
	}
	return smallest, times, tries
}

// candidates are the lists without one chunk each. The last steps, the final rest, stay.
func candidates(steps []Step, chunk int) (all [][]Step) {
	last := len(steps) - 2
	for at := 0; at < last; at += chunk {
		all = append(all, slices.Concat(steps[:at], steps[min(at+chunk, last):]))
	}
	return all
}

// firstOf is a candidate that fails, with a few worlds side by side; nil if none does.
func firstOf(all [][]Step, fails func([]Step) bool) (first []Step) {
	const beside = 3
	var mu sync.Mutex
	for batch := range slices.Chunk(all, beside) {
		var group sync.WaitGroup
		for _, c := range batch {
			group.Go(func() {
				if fails(c) {
					mu.Lock()
					defer mu.Unlock()
					if first == nil || len(c) < len(first) {
						first = c
					}
				}
			})
		}
		if group.Wait(); first != nil {
			return first
		}
	}
	return nil
}
