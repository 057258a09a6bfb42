package watch

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
)

// reads returns the journal as a reader finds it who knows the tree file; false: it proves
// nothing.
func (p *post) reads(f *journal.Follower) (journal.View, bool) {
	p.t.Helper()
	m, err := state.OpenMarker(p.root, p.StateDir)
	if err != nil {
		return journal.View{}, false
	}
	defer m.Close()
	tree, err := m.ReadTree()
	if err != nil {
		return journal.View{}, false
	}
	fail := p.Fail
	p.Fail = nil // of the watcher
	defer func() { p.Fail = fail }()
	view, err := f.Read(m, journal.Tree{ID: tree.ID, Epoch: tree.Epoch})
	if err != nil {
		require.ErrorIs(p.t, err, journal.ErrUnproved)
	}
	return view, err == nil
}

// last returns the last batch that a reader finds, as text; false: the journal proves nothing.
func (p *post) last() (run, text string, ok bool) {
	p.t.Helper()
	view, ok := p.reads(new(journal.Follower))
	if !ok {
		return "", "", false
	}
	run, number := view.Last()
	if number == 0 {
		return run, "", true
	}
	batches, _ := view.After(run, number-1)
	if len(batches) == 0 {
		return run, "", true // the run has none
	}
	var lines []string
	for _, l := range batches[len(batches)-1].Lines {
		lines = append(lines, strings.TrimSpace("./"+l.Path+" "+strings.Join(l.Names, " ")))
	}
	slices.Sort(lines)
	return run, strings.Join(lines, ", "), true
}

// saves writes a file and publishes that. It waits first, so that each has a time of its own.
func (p *post) saves(path string) {
	p.t.Helper()
	p.sleep(2 * time.Second)
	require.NoError(p.t, p.Shell.Write("/tree/"+path, "new"))
	p.hear(&notify.DirEvents{Path: mtree.ParentPath(path), Entries: []notify.Entry{{Name: mtree.BaseName(path)}}})
	require.NoError(p.t, p.publishEvents(p.ctx))
}

// Before the first stamp of a batch its names can be read by those who read the stamp.
func TestJournalOfAWatcher(t *testing.T) {
	manned(t, []string{"a/b/"}, func(t *testing.T, p *post) {
		_, _, ok := p.last()
		require.False(t, ok, "nobody keeps one")
		p.keepJournal()
		run, text, ok := p.last()
		require.True(t, ok && text == "")
		stamped := 0
		p.Fail = func(call string) error {
			if strings.HasPrefix(call, "utimes ") && call != "utimes "+mtree.MarkerName {
				stamped++
				same, text, ok := p.last()
				require.True(t, ok)
				require.Equal(t, run, same)
				require.Equal(t, "./ a/, ./a b/, ./a/b f", text)
			}
			return nil
		}
		p.saves("a/b/f")
		require.Equal(t, 3, stamped)
		require.Equal(t, int64(1), p.Stats.Journalled.Load())
		require.Equal(t, int64(0), p.Stats.Unjournalled.Load())
		p.Fail = nil
		require.NoError(t, p.watcher.close())
		_, _, ok = p.last()
		require.False(t, ok, "nobody writes it any more")
		p.begin() // for the end of the test
	})
}

// Nothing changes, and nothing is written. Our own stamps are no changes.
func TestIdleJournal(t *testing.T) {
	manned(t, []string{"a/b/"}, func(t *testing.T, p *post) {
		p.keepJournal()
		p.saves("a/f")
		p.sleep(time.Hour)
		p.forget()
		for range 3 {
			p.hear(&notify.DirEvents{Path: "a", Self: 1}, &notify.DirEvents{Self: 1, Entries: []notify.Entry{{Name: "a"}}})
			require.NoError(t, p.publishEvents(p.ctx))
			p.sleep(time.Hour)
			p.requestAudit(p.auditScope(periodic))
			p.audit()
		}
		require.Equal(t, 0, p.Made("write journal"))
		require.Equal(t, int64(1), p.Stats.Journalled.Load())
	})
}

// A new journal begins where what readers have may be of another one: in another epoch, in which
// stamps may come again, and where .tidemark or the journal was removed or replaced.
func TestAnotherJournal(t *testing.T) {
	remove := func(names ...string) func(p *post) {
		return func(p *post) {
			for _, name := range names {
				require.NoError(p.t, p.Shell.Remove(markerPath+name))
			}
			require.NoError(p.t, p.restoreMarker())
		}
	}
	for what, change := range map[string]func(p *post){
		"nothing":   func(*post) {},
		"an epoch":  func(p *post) { p.raiseEpoch() },
		"a loss":    func(p *post) { p.lose("the clock was set back", true); p.audit() },
		"all":       remove(""),
		"the tree":  remove("/tree"),
		"a journal": remove("/journal.0"),
		"both":      remove("/journal.0", "/journal.1"),
		"replaced": func(p *post) {
			require.NoError(p.t, p.Shell.Rename(markerPath+"/journal.0", markerPath+"/journal.1", unix.RENAME_EXCHANGE))
		},
		"moved away": func(p *post) {
			require.NoError(p.t, p.Shell.Rename(markerPath, "/tree/x", 0))
			require.NoError(p.t, p.restoreMarker())
		},
	} {
		manned(t, []string{"a/"}, func(t *testing.T, p *post) {
			p.keepJournal()
			p.saves("a/f")
			was, text, ok := p.last()
			require.True(t, ok && text == "./ a/, ./a f", what)
			change(p)
			p.saves("a/g")
			run, text, ok := p.last()
			require.True(t, ok, what)
			require.Equal(t, what == "nothing", run == was, what)
			require.Equal(t, "./ a/, ./a g", text, what)
			require.NotContains(t, p.text.String(), "which names change", what)
		})
	}
}

// What directories were given in another epoch may come again in this one.
func TestGivenInAnotherEpoch(t *testing.T) {
	for _, another := range []bool{false, true} {
		manned(t, []string{"a/"}, func(t *testing.T, p *post) {
			p.keepJournal()
			p.saves("a/f")
			gave := p.shows("a")
			if another {
				p.raiseEpoch()
			}
			p.saves("a/g")
			view, ok := p.reads(new(journal.Follower))
			require.True(t, ok)
			run, number := view.Last()
			batches, ok := view.After(run, number-1)
			require.True(t, ok)
			for _, l := range batches[0].Lines {
				if l.Path == "a" {
					require.Equal(t, !another, l.From == gave)
					require.True(t, l.To.After(gave))
				}
			}
		})
	}
}

// After a loss nobody knows which times a directory has shown, until an audit has found out.
func TestGivenAfterALoss(t *testing.T) {
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		p.keepJournal()
		for _, lost := range []bool{true, false} {
			if lost {
				p.lose("overflow", false)
			}
			p.forgetGiven()
			p.saves("a/f")
			view, ok := p.reads(new(journal.Follower))
			require.True(t, ok)
			run, number := view.Last()
			batches, ok := view.After(run, number-1)
			require.True(t, ok)
			for _, l := range batches[0].Lines {
				require.Equal(t, !lost, l.Known)
			}
			p.audit()
		}
	})
}

// Our own events are told from others by their number. Where events were lost, those may be ours:
// then one of somebody else would pass for it.
func TestOwnEventsAfterALoss(t *testing.T) {
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		p.keepJournal()
		p.tower.OwnEvents = true
		p.saves("a/f")
		for _, lost := range []string{"", "overflow"} {
			if lost != "" {
				p.tower.events = append(p.tower.events, notify.Events{Lost: lost})
				require.NoError(t, p.publishEvents(p.ctx))
				p.audit()
			}
			p.sleep(2 * time.Second)
			require.NoError(t, p.Shell.Write("/tree/a/g"+lost, "new"))
			selves := 1
			if lost != "" {
				selves = 2 // that of the audit's stamp, and one of somebody else
			}
			p.hear(&notify.DirEvents{Path: "a", Self: selves, Entries: []notify.Entry{{Name: "g" + lost}}})
			require.NoError(t, p.publishEvents(p.ctx))
			_, text, _ := p.last()
			require.Equal(t, map[string]string{"": "./ a/, ./a g", "overflow": "./ a/, ./a"}[lost], text, "no names are known after a loss")
		}
	})
}

// Until the end of the very first audit directories show times that are no stamps.
func TestNoJournalInTheFirstAudit(t *testing.T) {
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		p.firstAudit = true
		p.keepJournal()
		_, _, ok := p.last()
		require.False(t, ok)
		p.requestAudit(p.auditScope("asked for"))
		p.audit()
		_, text, ok := p.last()
		require.True(t, ok && text == "")
	})
}

// Whichever call fails for the journal: what is stamped can be read there before, or the journal
// proves nothing to anybody. It is stamped all the same, one warning says so, and a second
// later a new journal begins.
func TestJournalThatCannotBeWritten(t *testing.T) {
	var calls []string // that the journal takes, when it begins and with a batch
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		p.keepJournal()
		p.saves("a/f")
		p.keepJournal()
		p.saves("a/f")
		for _, call := range p.Calls {
			if strings.Contains(call, " journal.") && !slices.Contains(calls, call) && !strings.HasPrefix(call, "close ") {
				calls = append(calls, call)
			}
		}
	})
	require.Contains(t, calls, "write journal.0")
	require.Contains(t, calls, "fcntl journal.0")
	for _, call := range calls {
		for _, late := range []bool{false, true} { // after it has begun, or at once
			manned(t, []string{"a/"}, func(t *testing.T, p *post) {
				if late {
					p.keepJournal()
					p.saves("a/f")
				}
				stamped := 0
				p.Fail = func(made string) error {
					switch {
					case made == call:
						return unix.ENOSPC
					case strings.HasPrefix(made, "utimes ") && made != "utimes "+mtree.MarkerName:
						stamped++
						if _, text, ok := p.last(); ok {
							require.Equal(t, "./ a/, ./a g", text, "%s late %t", call, late)
						}
					}
					return nil
				}
				if !late {
					p.keepJournal()
				}
				for range 3 {
					p.saves("a/g")
				}
				require.Equal(t, 6, stamped)
				fails := p.Stats.Unjournalled.Load() > 0
				require.Equal(t, fails, strings.Contains(p.text.String(), "which names change"), call)
				require.LessOrEqual(t, strings.Count(p.text.String(), "which names change"), 1, call)
				p.Fail = nil
				p.saves("a/h")
				_, text, ok := p.last()
				require.True(t, ok, call)
				require.Equal(t, "./ a/, ./a h", text, call)
			})
		}
	}
}
