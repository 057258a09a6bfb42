package pass

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/mirror/internal/gate"
	"tidemark/pkg/mtree/mirror/internal/overlap"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/sourcetest"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// rig is a source and a copy of it in /copy, both in memory, and passes from one to the
// other. A test changes env and options before a pass, lets calls of the kernel or of the
// source fail, and looks at the result and at the copy.
type rig struct {
	*faultkernel.Kernel
	*sourcetest.Site
	t       *testing.T
	ctx     context.Context
	wait    time.Duration                    // before each pass; so that no file is suspicious for a young ctime, it is an hour
	show    func(path string, l *source.Dir) // what the source lists otherwise; nil: nothing
	yield   func(what string)                // called by the source between any two steps; may be nil
	other   bool                             // the source is another server than serve
	top     mtree.Stamp                      // of the root, as it was listed last
	replica *replica.Replica
	env     work.Env
	options Options
	log     bytes.Buffer
	out     bytes.Buffer // of dry runs
}

// List implements work.Source.
func (r *rig) List(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error) {
	l, err := r.Site.List(ctx, path, least)
	if r.show != nil && err == nil {
		r.show(path, &l)
	}
	return l, err
}

// simulate runs a test in a bubble, in which waiting takes no time. The source has the given
// paths, those with a slash at the end as directories, and the copy has everything.
func simulate(t *testing.T, name string, paths string, test func(t *testing.T, r *rig)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 0)
			r.write(paths)
			r.complete()
			test(t, r)
		})
	})
}

// bubble is simulate for a copy that is not made yet.
func bubble(t *testing.T, name string, test func(t *testing.T, r *rig)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, newRig(t, 0)) })
	})
}

// newRig returns a rig with an empty source and an empty copy, which belongs to the user uid.
func newRig(t *testing.T, uid uint32) *rig {
	r := &rig{Kernel: faultkernel.New(t, uid), t: t, ctx: t.Context(), wait: time.Hour}
	require.NoError(t, r.Shell.Mkdir("/copy", 0o755))
	require.NoError(t, r.Shell.Chown("/copy", int(uid)))
	r.Site = &sourcetest.Site{Tree: sourcetest.NewTree(state.NewTreeID(), machine.Now, func(what string) {
		if r.yield != nil {
			r.yield(what)
		}
	})}
	log := slog.New(slog.NewTextHandler(&r.log, nil))
	r.env = work.Env{Source: r, Verified: &work.VerifiedFiles{}, Wholes: &work.Wholes{}, Log: log}
	limit, err := gate.ParseLimit("100%")
	require.NoError(t, err)
	n := func() *atomic.Int64 { return &atomic.Int64{} }
	r.options = Options{
		Jobs: 1, CommitFiles: 1000, Limit: limit, Now: machine.Now, Out: &r.out, Memory: &Memory{},
		Listed:   func(*mtree.Listing, bool) error { return nil },
		Counters: Counters{n(), n(), n(), n(), n(), n(), n(), n(), n()},
	}
	r.open(replica.Options{})
	return r
}

// open opens the copy, as a mirror does that starts.
func (r *rig) open(o replica.Options) {
	r.t.Helper()
	o.Path, o.Log, o.Now = "/copy", r.env.Log, machine.Now
	c, err := replica.Open(&o)
	require.NoError(r.t, err)
	r.t.Cleanup(c.Close)
	tree := state.Tree{ID: r.Site.Tree.ID, Role: state.Copy}
	tree.Bind(c.Self)
	if !o.ReadOnly {
		require.NoError(r.t, c.SetTree(tree))
	}
	r.replica, r.env.Replica, r.env.Overlap = c, c, &overlap.Guard{Source: r, Replica: c}
}

// write makes paths at the source, and publishes them.
func (r *rig) write(paths string) {
	r.t.Helper()
	for _, path := range strings.Fields(paths) {
		file, isDir := strings.TrimSuffix(path, "/"), strings.HasSuffix(path, "/")
		for i := range path {
			if path[i] == '/' {
				r.Tree.Mkdir(path[:i])
			}
		}
		require.True(r.t, isDir || r.Tree.Write(file), path)
	}
	r.Tree.Publish()
}

// remove removes paths at the source, and publishes that.
func (r *rig) remove(paths string) {
	r.t.Helper()
	for _, path := range strings.Fields(paths) {
		require.True(r.t, r.Tree.Remove(path), path)
	}
	r.Tree.Publish()
}

// try runs a pass, and publishes how it ended, as mirror does.
func (r *rig) try() (*Result, error) {
	r.t.Helper()
	<-time.After(r.wait)
	root, err := r.Root(r.ctx, source.Poll{})
	require.NoError(r.t, err)
	root.OtherServer = r.other
	if r.show != nil {
		r.show("", &root.Dir)
	}
	return r.tryFrom(&root)
}

// follow runs a pass by parts, as a mirror does that keeps running. It returns what was asked for.
func (r *rig) follow() (*Result, []string) {
	r.t.Helper()
	r.Parts = func(string) bool { return true }
	<-time.After(r.wait)
	r.Asked = nil
	root, err := r.Root(r.ctx, source.Poll{Known: "-", Since: &r.top, Parts: true})
	require.NoError(r.t, err)
	p, err := r.tryFrom(&root)
	require.NoError(r.t, err)
	return p, r.Asked
}

// tryFrom runs a pass from that root.
func (r *rig) tryFrom(root *source.Root) (*Result, error) {
	r.env.Root, r.Calls, r.top = root, nil, root.Stamp
	r.log.Reset()
	p, err := Run(r.ctx, &r.env, &r.options)
	if r.env.DryRun {
		return p, err
	}
	fail := r.Fail
	r.Fail = nil
	o := replica.Outcome{
		Complete: p.Complete, Full: p.Full, Changed: p.Changed, NoDelete: r.env.NoDelete, Seen: p.Seen, Made: p.Made, Deleted: p.Deleted,
		Held: p.Held, Failed: p.Failed, Incomplete: p.Incomplete, SourceState: root.State, Root: p.Root,
	}
	p.Gate.End(&o)
	require.NoError(r.t, r.replica.Publish(&o))
	require.NoError(r.t, r.replica.UpdateUncopied(p.Uncopied, p.IsDeleted, p.Complete && p.Full))
	if calls := r.Calls; p.Complete && p.Full { // all is counted by then, whatever no listing shows
		require.Equal(r.t, r.replica.CountAll(), r.replica.Counters().Entries)
		r.Calls = calls
	}
	r.Fail = fail
	return p, err
}

// pass runs a pass that nothing ends early.
func (r *rig) pass() *Result {
	r.t.Helper()
	p, err := r.try()
	require.NoError(r.t, err)
	return p
}

// complete runs a pass that makes the copy equal to the source.
func (r *rig) complete() *Result {
	r.t.Helper()
	p := r.pass()
	require.True(r.t, p.Complete, r.log.String())
	require.Empty(r.t, r.behind())
	return p
}

// full runs a full walk.
func (r *rig) full() *Result {
	r.t.Helper()
	r.options.Full = true
	defer func() { r.options.Full = false }()
	return r.pass()
}

// paths returns what the copy has, in order; directories with a slash at the end.
func (r *rig) paths() string {
	var all []string
	var look func(path string)
	look = func(path string) {
		for _, name := range r.Shell.Names("/copy/" + path) {
			if name == mtree.MarkerName {
				continue
			}
			below := mtree.JoinPath(path, name)
			if r.isDir(below) {
				all = append(all, below+"/")
				look(below)
			} else {
				all = append(all, below)
			}
		}
	}
	look("")
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (r *rig) isDir(path string) bool {
	dir, err := r.replica.Dir(path)
	if err == nil {
		_ = dir.Close()
	}
	return err == nil
}

// record returns the record of a directory of the copy, and whether it is complete.
func (r *rig) record(path string) (records.Record, bool) {
	dir, err := r.replica.Dir(path)
	require.NoError(r.t, err, path)
	defer dir.Close()
	info, err := dir.Self()
	require.NoError(r.t, err)
	record, ok, _ := r.replica.Record(dir, path)
	return record, ok && record.IsStored(info.MTime)
}

// behind returns the directories of the copy that are not complete with the stamps that the
// source has now; the root is "/".
func (r *rig) behind() string {
	var all []string
	for _, path := range append([]string{"/"}, strings.Fields(r.paths())...) {
		if !strings.HasSuffix(path, "/") {
			continue
		}
		dir := strings.TrimSuffix(path, "/")
		versions := r.Tree.Past(dir)
		if record, complete := r.record(dir); !complete || record.Stamp != versions[len(versions)-1].MTime {
			all = append(all, path)
		}
	}
	return strings.Join(all, " ")
}

// held returns the paths of deletions that are held, and why.
func (r *rig) held() (paths, why string) {
	list, err := r.replica.Held()
	require.NoError(r.t, err)
	for i := range list.Entries {
		paths += " " + list.Entries[i].Path
	}
	return strings.TrimPrefix(paths, " "), list.Why()
}

// release lets somebody release what is held now.
func (r *rig) release() {
	text, err := r.Shell.Read("/copy/.tidemark/held")
	require.NoError(r.t, err)
	require.NoError(r.t, r.Shell.Write("/copy/.tidemark/release", text))
}

// lose lets the source fail for calls such as "fetch /a/f", until the next is given.
func (r *rig) lose(err error, calls ...string) {
	r.Fault = func(call string) error {
		if slices.Contains(calls, call) {
			return err
		}
		return nil
	}
}
