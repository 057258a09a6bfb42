package mirror

import (
	"errors"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/lineage"
	"tidemark/pkg/mtree/mirror/internal/overlap"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/several"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/directory"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
)

// origin is what a copy is made from: *remote.Source, *directory.Source or *several.Sources.
type origin = several.Origin

// openSource returns the source that the configuration names.
func openSource(c *Config) (origin, error) {
	switch {
	case len(c.Others) > 0:
		s, err := openSeveral(c)
		if err != nil {
			return nil, err
		}
		return s, nil
	case c.open != nil:
		return c.open(c)
	case c.Source == "":
		return nil, exit.With(exit.Usage, errors.New("no source"), "give SOURCE and DEST")
	case remote.IsURL(c.Source):
		return openRemote(c)
	}
	return openDirectory(c)
}

// openSeveral opens several sources, of which one is used.
func openSeveral(c *Config) (*several.Sources, error) {
	c.Stats.several.Store(true)
	list := make([]several.Candidate, len(c.Others)+1)
	for i := range list {
		one := *c
		one.vigilant = true
		if one.Others = nil; i > 0 {
			o := &c.Others[i-1]
			one.Source, one.TLS, one.Authorization, one.Header, one.Credentials = o.Source, o.TLS, o.Authorization, o.Header, o.Credentials
		}
		list[i] = several.Candidate{Name: state.SourceName(one.Source), Open: func() (origin, error) { return openSource(&one) }}
	}
	return several.Open(several.Config{
		List: list, FirstProbe: c.firstProbe, Vary: c.vary, Now: c.Now, Log: c.Log, Changes: &c.Stats.SourceChanges, Number: &c.Stats.SourceNumber,
	}, func(root *source.Root, _ int, _ bool) error { return new(lineage.Lineage).MayStay(root) })
}

// openRemote opens a source at a URL.
func openRemote(c *Config) (origin, error) {
	s, err := remote.Open(remote.Config{
		URL: c.Source, UserAgent: c.UserAgent, Header: c.Header, TLS: c.TLS, Authorization: c.Authorization, Credentials: c.Credentials,
		Streams: c.Jobs, Requests: &c.Stats.Requests, FirstPause: c.FirstPause, Patience: c.Patience, LargeRoom: c.largeRoom, Vigilant: c.vigilant,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// openDirectory opens a local directory. It refuses a source within the copy, and a copy
// within the source.
func openDirectory(c *Config) (origin, error) {
	check := func(path string) error { return overlap.CheckPaths(path, c.Dest) }
	if err := check(c.Source); err != nil {
		return nil, err
	}
	s, err := directory.Open(directory.Config{Path: c.Source, CrossMounts: c.CrossMounts, Owner: c.Owner, Check: check})
	if err != nil {
		return nil, err
	}
	if err := replica.CheckStateDir(s.Dir(), c.StateDir); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}
