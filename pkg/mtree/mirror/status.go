package mirror

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/wire"
)

// PrintStatus writes what is known of the copy at dest, as lines "name: value", and the
// deletions that are held. It only reads the disk and makes no request.
func PrintStatus(w io.Writer, dest, stateDir string) error {
	l, err := replica.LookAt(dest, stateDir)
	if err != nil {
		return err
	}
	defer l.Close()
	held, err := l.Held()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	uncopied, err := l.Uncopied()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	s := &l.Status
	fmt.Fprintf(w, "state: %s\nsource: %s\n%s", l.State, state.SourceName(l.Tree.Upstream), treeLines(&l.Tree))
	printSource(w, s)
	if s.Walked && l.State == wire.Unwatched {
		fmt.Fprintln(w, "stamps: do not prune, for those of the source do not: every pass is a full walk")
	}
	if s.Root != nil {
		fmt.Fprintf(w, "root: %s\n", *s.Root)
	}
	printLag(w, l)
	counters := replica.CountersOf(s)
	if counters.Ended != 0 {
		fmt.Fprintf(w, "last change: %s\n", time.Unix(counters.Ended, 0).UTC().Format(time.RFC3339))
	}
	if s.Updated != nil {
		fmt.Fprintf(w, "updated: %s\n", s.Updated.Time().Format(time.RFC3339))
	}
	fmt.Fprintf(w, "entries: %d\nincomplete: %d\nfailed: %d\n", counters.Entries, counters.Incomplete, counters.Failed)
	if s.Error != "" {
		fmt.Fprintf(w, "error: %q\n", s.Error)
	}
	fmt.Fprintf(w, "not copied: %d\n", uncopied.Total())
	if s.Unread > 0 {
		fmt.Fprintf(w, "not readable at the source: %d directories, which the copy never had whole\n", s.Unread)
	}
	fmt.Fprintf(w, "held: %d\n", held.Total())
	for i := range held.Entries {
		e := &held.Entries[i]
		if i == 0 || e.Why != held.Entries[i-1].Why {
			fmt.Fprintf(w, "held because: %s\n", e.Why)
		}
		fmt.Fprintf(w, "  %s %s, %d entries\n", e.Kind, mtree.QuotePath(e.Path), e.Entries)
	}
	return nil
}

// printSource writes what the source said of itself when the last pass began: the copy is
// no better than that.
func printSource(w io.Writer, s *state.Status) {
	if s.SourceState != "" {
		word := strings.Trim(strconv.Quote(string(s.SourceState)), `"`) // whatever bytes the source sent
		fmt.Fprintf(w, "source state: %s%s\n", word, map[wire.State]string{
			wire.Audited:  ", nobody hears its changes: its next audit finds them",
			wire.Degraded: ", not all of its changes are heard: its audits find them",
			wire.Stale:    ", its mirror does not run",
		}[s.SourceState])
	}
	if s.SourceUnread > 0 {
		fmt.Fprintf(w, "not published by the source: %d directories, which its watch may not read; what the copy has of them stays as it is\n", s.SourceUnread)
	}
}

// treeLines says which tree the copy was made from.
func treeLines(t *state.Tree) string {
	switch {
	case t.ID == "":
		return "tree: none, the source has no id\n"
	case t.Older != 0:
		return fmt.Sprintf("tree: %s epoch %d, the source is of an older lineage, epoch %d\n", t.ID, t.Epoch, t.Older)
	case t.Path != "" && t.Path != "/":
		return fmt.Sprintf("tree: %s epoch %d\npath: %q\n", t.ID, t.Epoch, t.Path)
	}
	return fmt.Sprintf("tree: %s epoch %d\n", t.ID, t.Epoch)
}

// printLag writes up to when the copy is known to equal what the source published, and
// how long ago that was. A live mirror asks an idle source at least every 45 s.
func printLag(w io.Writer, l *replica.Look) {
	at := l.Confirmed()
	if at == nil {
		fmt.Fprintln(w, "lag: unknown")
	} else {
		fmt.Fprintf(w, "lag: %s\nconfirmed until: %s\n", max(0, machine.Now().Sub(*at)).Round(time.Millisecond), at.Time().Format(time.RFC3339))
	}
	if s := &l.Status; s.Away != nil {
		fmt.Fprintf(w, "source unreachable since: %s\n", s.Away.Time().Format(time.RFC3339))
	}
}
