package proof

// MostAgree runs a simulation of which two runs gave different results three times more, and reports
// whether four of the five were equal. Under load the Go runtime preempts a goroutine now and then,
// and one run in fifty or so takes another course. If the course depends on chance, more of
// the five differ.
func MostAgree[T comparable](one, other T, run func() T) bool {
	results := map[T]int{one: 1, other: 1}
	for range 3 {
		results[run()]++
	}
	return results[one] == 4 || results[other] == 4
}
