package proof

import (
	"slices"
	"time"
)

// Shrink leaves out parts of what fails as long as the rest still fails, larger parts
// first, until no single one can be left out or the time is over.
func Shrink[T any](all []T, patience time.Duration, fails func([]T) bool) []T {
	end := time.Now().Add(patience)
	for size := len(all) / 2; size > 0; size /= 2 {
		for again := true; again; {
			again = false
			for at := 0; at+size <= len(all) && time.Now().Before(end); {
				fewer := slices.Delete(slices.Clone(all), at, at+size)
				if fails(fewer) {
					all, again = fewer, size == 1
				} else {
					at += size
				}
			}
		}
	}
	return all
}
