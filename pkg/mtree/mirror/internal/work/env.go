package work

import (
	"context"
	"iter"
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/limits"
	"tidemark/pkg/mtree/mirror/internal/overlap"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/rights"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Source is what steps read from a source. Its methods are those of *remote.Source and
// *directory.Source, which document them.
type Source interface {
	List(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error)
	Fetch(ctx context.Context, want []source.Wanted) iter.Seq2[int, source.File]
	Sums(ctx context.Context, paths []string) (map[string]source.Sum, error)
	Part(ctx context.Context, path string, since mtree.Stamp) (source.Dir, error)
}

// Env is what the steps of a pass work with: the source, the copy and the rules. Its
// methods are the steps. They do I/O, several at once, each in a goroutine of its own. A
// step knows only what it is given by value, and it returns a result that the pass
// records. No field changes while a pass runs, and several goroutines may use what the
// fields point to.
type Env struct {
	Source   Source
	Root     *source.Root // what the source said of its tree when the pass began
	Replica  *replica.Replica
	Overlap  *overlap.Guard // of Source and Replica
	Filters  *glob.List     // what is not copied
	Rights   *rights.Rules  // modes and owners in place of those listed; nil: none
	Limits   limits.Limits  // which files are not fetched
	Verified *VerifiedFiles // outlives a pass
	Wholes   *Wholes        // outlives a pass
	OldSums  *fetch.OldSums // outlives a pass; nil: nothing is kept
	Limiter  *rate.Limiter  // of file contents; nil: none
	Log      *slog.Logger

	// A pass sets these. Without a pass, as in PlanToVerify, they are not needed.
	Held         *replica.HeldList // deletions that were held when the pass began; nil: none
	BeforeChange func()            // called before each change of the copy
	Arriving     *atomic.Int64     // counts bytes of files as they arrive; nil: not counted

	// Several says that records may be of another source, which shows the same tree: directories have
	// other ids there, and its clock is another one.
	Several bool

	// StandsIn says that another source than the first is used, a copy, which may leave out what the first
	// one shows: nothing is deleted by its listings.
	StandsIn bool

	DryRun   bool // nothing is changed
	NoDelete bool // only deletions that were held before are carried out
	NoLinks  bool // symlinks are left out
	Owner    bool // owners are set
	Sparse   bool // runs of zeros become holes
	SyncEach bool // each file is flushed before it gets its name
}

// Target is a directory of the copy that a step works on, and what its pass knows
// of it.
type Target struct {
	Path     string         // "" is the root
	Listed   mtree.Stamp    // as its parent lists it; zero for the root
	Doubts   replica.Doubts // what is not trusted in it and below it
	Fresh    bool           // it was made in this pass
	Past     bool           // the listing of a directory above is of the past: source.Dir.Past
	Open     bool           // an earlier pass left it or something below it incomplete, and none has completed it since
	Nested   bool           // in the copy, it or a directory above it is the root of another tree or copy
	Record   records.Record // what it will be completed with; known after its visit
	Unlisted bool           // it has entries to delete that a serve with the present options may never have listed
}

// otherFingerprint is recorded for a directory if the copy has entries there that a serve
// with other options may leave out.
const otherFingerprint = "-"

// Begun returns what the record of the directory says until it is complete. What waits to
// be deleted is still there: serve may leave it out by the time that it is looked at again.
func (t *Target) Begun() records.Record {
	r := t.Record
	if t.Unlisted { // guard: TestSimulationFound
		r.Excluded, r.Fingerprint = 0, otherFingerprint
	}
	return r
}

// ToChange returns the directory as the steps know it that change it.
func (t *Target) ToChange() fetch.Target {
	return fetch.Target{Path: t.Path, Begun: t.Begun(), Doubts: t.Doubts, Past: t.Past, Nested: t.Nested}
}

// openCopy opens the directory of the copy at path.
func (env *Env) openCopy(path string) (*disk.Dir, error) {
	if env.DryRun {
		return env.Replica.Dir(path)
	}
	return env.Replica.Enter(path)
}

// enter makes a directory accessible that its owner may read and not enter. It gets its mode
// back with its stamp.
func (env *Env) enter(dir *disk.Dir, info disk.Info) error {
	if info.Mode&0o100 != 0 || env.DryRun {
		return nil
	}
	if _, err := dir.Stat(mtree.MarkerName); !disk.IsDenied(err) { // guard (always): ordinary-user.txtar
		return nil
	}
	return dir.Chmod(info.Mode | 0o700)
}

// makeReady makes a directory ready to be changed.
func (env *Env) makeReady(dir *disk.Dir, info disk.Info, t *Target) error {
	at := t.ToChange()
	return env.writer().MakeReady(dir, info, &at)
}

// writer returns what changes the copy.
func (env *Env) writer() fetch.Writer {
	return fetch.Writer{Replica: env.Replica, BeforeChange: env.BeforeChange, NoDelete: env.NoDelete, Owner: env.Owner, Sparse: env.Sparse, SyncEach: env.SyncEach}
}

// Fetch brings files, small ones of several directories with one request, and returns one result for
// each group.
func (env *Env) Fetch(ctx context.Context, groups []fetch.Group) []fetch.Result {
	return fetch.Env{
		Source: env.Source, Root: env.Root, Copy: env.writer(), Limits: env.Limits,
		OldSums: env.OldSums, Limiter: env.Limiter, Arriving: env.Arriving, Log: env.Log,
	}.Fetch(ctx, groups)
}
