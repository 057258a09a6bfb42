// Package plan says what makes one directory of a copy equal to a listing of the
// source. It is pure: no I/O, no clock.
//
//	todo := plan.Make(have, &listing, &plan.Options{Dir: "a/b", Stored: times.Stored})
//	for _, c := range todo.Fetch { ... }
//
// What it promises: an entry of the copy that the source may have but not list is never
// in Extra; a symlink that may lead out of the copy is never in MakeLinks; an entry of a
// kind that this version does not know is left as it is.
//
// Its files stand in layers. Each uses what stands below it:
//
//	plan.go  Plan, Options, Make
//	link.go  which symlinks are safe
package plan
