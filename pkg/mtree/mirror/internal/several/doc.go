// Package several makes one source of several that show the same tree: the first that answers and that may
// be used. On trouble it goes over to the next, and back when a preferred one can be used again. It never
// uses one that Judge refuses, such as one that is older than the copy.
//
// What it promises: of one pass all listings and files come from one source. When that is lost the pass
// ends, and the next call of Root chooses anew. How the sources stand is reported when it changes.
//
// Its files stand in layers. Each uses what stands below it:
//
//	polling.go      Root: the source that is used is asked, and left when a preferred one is back
//	choosing.go     which source is used
//	probing.go      when preferred ones are asked, beside a poll
//	several.go      Sources: what the source that is used gives
//	candidate.go    one of them
//	config.go       Config, Candidate, Origin
//
// Example:
//
//	s, err := several.Open(several.Config{List: []several.Candidate{{Name: "a", Open: openA}, ...}, ...}, judge)
//	...
//	root, err := s.Root(ctx, source.Poll{Wait: time.Minute, ...})
//	if root.Switched { ... }
package several
