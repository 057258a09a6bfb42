package proof

// MostAgree runs a simulation of which two runs gave different results three times more, and reports
// whether four of the five were equal; if not, whether four of five more are. Under load the Go runtime
// preempts a goroutine now and then, and one run in fifty or so takes another course. If the
// course depends on chance, more of the five differ.
func MostAgree[T comparable](one, other T, run func() T) bool {
	results := map[T]int{one: 1, other: 1}
	for range 3 {
		results[run()]++
	}
	if results[one] == 4 || results[other] == 4 {
		return true
	}
	most, again := 0, map[T]int{}
	for range 5 {
		is := run()
		again[is]++
		most = max(most, again[is])
	}
	return most >= 4
}
