package sourcetest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"sync"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// Site is an address at which a tree is served: a source as a mirror asks it.
type Site struct {
	Tree      *Tree                   // may become another one
	Nameless  bool                    // the tree's id, epoch and runs are not sent: its .tidemark was lost
	Upstreams string                  // of a copy
	Fault     func(call string) error // called at the beginning of each call, and for each file; nil: no faults
	Told      int                     // how many parts were given out
	Asked     []string                // all calls
	Parts     func(path string) bool  // whether an answer has a part of a listing, where one suffices for some; nil: it has none
	Cache     func() int              // how many listings ago a cache answers a call; 0, or nil: as it is now

	ahead map[string]source.Dir   // parts that came with the root, by path
	dirs  map[string][]source.Dir // what was listed, by path: the newest last
	roots []source.Root
	mu    sync.Mutex // what a test killed is left to run out, several goroutines at once
}

// call notes a call, and returns the fault that it meets. Who was killed calls nothing.
func (s *Site) call(ctx context.Context, what string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.Tree.yield(what)
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Asked = append(s.Asked, what)
	return s.fault(what)
}

func (s *Site) fault(what string) error {
	if s.Fault == nil {
		return nil
	}
	return s.Fault(what)
}

func (s *Site) id() source.Tree {
	if s.Nameless {
		return source.Tree{}
	}
	return source.Tree{ID: s.Tree.ID, Epoch: s.Tree.Epoch}
}

// Root is the method of a source. With poll.Wait it waits for another stamp of the root.
func (s *Site) Root(ctx context.Context, poll source.Poll) (source.Root, error) {
	s.mu.Lock()
	s.ahead = nil
	s.mu.Unlock()
	if err := s.call(ctx, "root"); err != nil {
		return source.Root{}, err
	}
	if back := s.back(); back > 0 && len(s.roots) > 0 {
		return s.roots[max(0, len(s.roots)-back)], nil
	}
	for end := time.Now().Add(poll.Wait); ; {
		fills := s.Tree.fills
		root, err := s.root()
		if err != nil {
			return source.Root{}, err
		}
		if root.Validator != poll.Known {
			listed := root
			if poll.Parts {
				s.addParts(&root, *poll.Since)
			}
			if s.Tree.fills != fills {
				continue // serve answers from one tree: with its state
			}
			s.roots = append(s.roots, listed)
			return root, nil
		}
		if !time.Now().Before(end) {
			root.Unchanged, root.Listing = true, mtree.Listing{}
			return root, nil
		}
		for turn := s.Tree.Turn(); s.Tree.Turn() == turn && time.Now().Before(end); {
			select {
			case <-ctx.Done():
				return source.Root{}, ctx.Err()
			case <-time.After(time.Second):
			}
		}
	}
}

func (s *Site) root() (root source.Root, err error) {
	t := s.Tree
	root = source.Root{State: t.State, TreePath: "/", Runs: t.Runs, Upstreams: s.Upstreams, Server: "sourcetest"}
	root.Tree = s.id()
	if s.Nameless {
		root.State, root.TreePath, root.Runs = wire.Unwatched, "", nil
	}
	root.Fingerprint = s.fingerprint()
	if root.Listing, err = t.list(""); err != nil {
		return root, err
	}
	if s.Nameless {
		root.ID = ""
	}
	root.Validator = s.validator(&root)
	return root, nil
}

// validator names the answer with that root.
func (s *Site) validator(root *source.Root) string {
	validator := root.Stamp.String()
	if !root.State.Prunes() {
		sum := sha256.Sum256(fmt.Append(nil, root.Entries))
		validator = fmt.Sprintf("h%x", sum[:6])
	}
	return fmt.Sprintf("%s-%s-%t", validator, root.Fingerprint, root.Hot)
}

// addParts reads parts of listings, as they come with a root: that of the root first, which takes
// the place of the whole.
func (s *Site) addParts(root *source.Root, since mtree.Stamp) {
	ahead := map[string]source.Dir{}
	for _, path := range s.Tree.changedSince(since) {
		if s.Parts == nil || !s.Parts(path) {
			continue
		}
		part, ok := s.Tree.part(path, since)
		is := source.Dir{Listing: part, Tree: s.id(), Fingerprint: s.fingerprint(), Direct: true}
		switch {
		case !ok || is.Tree != root.Tree || is.Fingerprint != root.Fingerprint:
		case path == "":
			root.Dir = is
			root.Validator = s.validator(root)
		default:
			ahead[path] = is
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead = ahead
}

// fingerprint is that of the options of serve.
func (s *Site) fingerprint() string {
	return wire.Fingerprint(fmt.Append(nil, s.id(), s.Tree.excluded, s.Tree.trusted))
}

// List is the method of a source.
func (s *Site) List(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error) {
	if err := s.call(ctx, "list "+quoted(path)); err != nil {
		return source.Dir{}, err
	}
	s.mu.Lock()
	was := s.dirs[path]
	part, came := s.ahead[path]
	delete(s.ahead, path)
	if came = came && least != source.Fresh && !part.Stamp.Before(least); came {
		s.Told++
	}
	s.mu.Unlock()
	if came {
		return part, nil
	}
	if back := s.back(); back > 0 && len(was) > 0 {
		l := was[max(0, len(was)-back)]
		l.Past, l.Direct = least != source.Fresh && l.Stamp.Before(least), false
		return l, nil
	}
	l, err := s.Tree.list(path)
	if s.Nameless {
		l.ID = ""
	}
	dir := source.Dir{Listing: l, Tree: s.id(), Fingerprint: s.fingerprint(), Direct: true}
	if err == nil {
		s.keep(path, dir)
	}
	return dir, err
}

// keep remembers a listing, for a cache.
func (s *Site) keep(path string, dir source.Dir) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dirs == nil {
		s.dirs = map[string][]source.Dir{}
	}
	s.dirs[path] = append(s.dirs[path], dir)
}

// back is how many listings ago a cache answers.
func (s *Site) back() int {
	if s.Cache == nil {
		return 0
	}
	return s.Cache()
}

// Part is the method of a source.
func (s *Site) Part(ctx context.Context, path string, since mtree.Stamp) (source.Dir, error) {
	if err := s.call(ctx, "part "+quoted(path)); err != nil {
		return source.Dir{}, err
	}
	if s.Parts == nil || !s.Parts(path) {
		return source.Dir{}, source.ErrWhole
	}
	if dir, err := s.Tree.open(path); err != nil || !dir.mtime.After(since) {
		return source.Dir{}, source.ErrNoPart
	}
	part, ok := s.Tree.part(path, since)
	if !ok {
		return source.Dir{}, source.ErrWhole
	}
	return source.Dir{Listing: part, Tree: s.id(), Fingerprint: s.fingerprint(), Direct: true}, nil
}

// Fetch is the method of a source.
func (s *Site) Fetch(ctx context.Context, want []source.Wanted) iter.Seq2[int, source.File] {
	return func(yield func(int, source.File) bool) {
		source.EachFile(ctx, want, nil, func(ctx context.Context, w *source.Wanted, d source.Demand) (source.Opened, error) {
			if err := s.call(ctx, "fetch "+quoted(w.Path)); err != nil {
				return source.Opened{}, err
			}
			s.mu.Lock()
			cut := s.fault("body " + quoted(w.Path))
			s.mu.Unlock()
			return s.Tree.openFile(ctx, cut, w, d)
		}, yield)
	}
}

// Sums is the method of a source.
func (s *Site) Sums(ctx context.Context, paths []string) (map[string]source.Sum, error) {
	if err := s.call(ctx, "sums"); err != nil {
		return nil, err
	}
	sums := map[string]source.Sum{}
	for _, path := range paths {
		if sum, ok := s.Tree.sum(path); ok {
			sums[path] = sum
		}
	}
	return sums, nil
}

// Serves is the method of a source: only other servers give out files of .tidemark.
func (s *Site) Serves(context.Context, string, []byte) bool { return false }

// Renewed is the method of a source.
func (s *Site) Renewed() bool { return false }

// Close is the method of a source.
func (s *Site) Close() {}
