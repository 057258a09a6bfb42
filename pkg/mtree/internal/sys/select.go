package sys

import "reflect"

// Case is a channel to receive from, and what is to be done with what comes.
type Case struct {
	from reflect.Value
	do   func(reflect.Value) error
}

// On makes a Case. A nil channel never has anything.
func On[T any](from <-chan T, do func(T) error) Case {
	return Case{reflect.ValueOf(from), func(v reflect.Value) error {
		got, _ := reflect.TypeAssert[T](v)
		return do(got)
	}}
}

// Select waits until something can be received, and does what is to be done then. Like the
// statement it picks any if several can; in a simulation the Kernel picks. Cost: some
// microseconds.
func Select(cases ...Case) error {
	ways := make([]reflect.SelectCase, len(cases), len(cases)+1)
	for i, c := range cases {
		ways[i] = reflect.SelectCase{Dir: reflect.SelectRecv, Chan: c.from}
	}
	if kernel != nil {
		for _, i := range kernel.Order(len(cases)) {
			if got, v, _ := reflect.Select([]reflect.SelectCase{ways[i], {Dir: reflect.SelectDefault}}); got == 0 {
				return cases[i].do(v)
			}
		}
	}
	i, v, _ := reflect.Select(ways)
	if kernel != nil {
		kernel.Turn("received")
	}
	return cases[i].do(v)
}
