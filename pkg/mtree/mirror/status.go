package mirror

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/wire"
)

// copyReport is what is known of a copy, as --status --json prints it. Times are by the clock of
// this machine, stamps by those of the source.
type copyReport struct {
	State  wire.State `json:"state"`
	Source string     `json:"source"`
	Tree   string     `json:"tree,omitempty"` // "": the source has no id
	Epoch  uint64     `json:"epoch,omitempty"`
	Older  uint64     `json:"older,omitempty"` // the epoch of a source that is of an older lineage
	Path   string     `json:"path,omitempty"`  // which directory of the tree it is; "": the root

	SourceState  wire.State `json:"source_state,omitempty"`  // what the source said of itself
	SourceUnread int        `json:"source_unread,omitempty"` // directories that it does not publish
	Walks        bool       `json:"walks,omitempty"`         // its stamps do not prune: every pass is a full walk

	Root       *mtree.Stamp `json:"root,omitempty"`
	Lag        *float64     `json:"lag,omitempty"`       // seconds since Confirmed
	Confirmed  *time.Time   `json:"confirmed,omitempty"` // up to when the copy is known to equal what the source published
	Away       *time.Time   `json:"unreachable_since,omitempty"`
	LastChange *time.Time   `json:"last_change,omitempty"`
	Updated    *time.Time   `json:"updated,omitempty"` // when the status was written

	SourceEntries *wire.Entries  `json:"source_entries,omitempty"` // what the source has, as its last audit counted it
	Counted       *state.Entries `json:"counted,omitempty"`        // what the copy has, as it tells copies of it
	Pass          *passReport    `json:"pass,omitempty"`           // the pass that runs now, if it takes long

	Entries    int64  `json:"entries"`
	Incomplete int64  `json:"incomplete"` // directories that the last pass left so
	Failed     int64  `json:"failed"`     // paths, in that pass
	Error      string `json:"error,omitempty"`
	NotCopied  int64  `json:"not_copied"`
	Unread     int    `json:"unread,omitempty"` // directories that the source may not read, and that the copy never had whole
	Held       int64  `json:"held"`             // entries
	Backup     string `json:"backup,omitempty"` // the backup directory of the mirror that ran last

	Sources       []sourceReport `json:"sources,omitempty"` // if there are several
	HeldDeletions []heldDeletion `json:"held_deletions,omitempty"`
}

// sourceReport says how one of several sources stands.
type sourceReport struct {
	Source string    `json:"source"`
	Used   bool      `json:"used"`
	Since  time.Time `json:"since"`
	Why    string    `json:"why,omitempty"` // it is not used; "": another one is preferred
}

// passReport is how far the pass has got that runs now.
type passReport struct {
	Began       time.Time     `json:"began"`
	Percent     *int64        `json:"percent,omitempty"`
	About       bool          `json:"about,omitempty"` // percent, left and total are estimates
	Left        *int64        `json:"left,omitempty"`  // seconds
	Rate        int64         `json:"rate"`            // bytes a second
	Directories int64         `json:"directories"`     // compared
	Files       int64         `json:"files"`           // that arrived
	Bytes       int64         `json:"bytes"`           // that arrived
	Finished    *wire.Entries `json:"finished,omitempty"`
	Total       *wire.Entries `json:"total,omitempty"`

	line string
}

// reportPass returns what a status says of the pass that runs now.
func reportPass(s *state.Pass) *passReport {
	p := progressOf(s)
	r := &passReport{
		Began: s.Began.Time(), About: s.About, Rate: s.Rate, Directories: s.Listed, Files: s.Fetched, Bytes: s.Bytes, line: p.told(),
	}
	if s.Permill >= 0 {
		percent := s.Permill / 10
		r.Percent, r.Finished, r.Total = &percent, &s.Finished, &s.Total
	}
	if s.Left >= 0 {
		r.Left = &s.Left
	}
	return r
}

// heldDeletion is a deletion that is held.
type heldDeletion struct {
	Why     string `json:"why"`
	Kind    string `json:"kind"`
	Path    string `json:"path"` // escaped as in listings
	Entries int64  `json:"entries"`
}

// PrintStatus writes what is known of the copy at dest, as lines "name: value", and the
// deletions that are held. It only reads the disk and makes no request.
func PrintStatus(w io.Writer, dest, stateDir string) error {
	r, err := lookAtCopy(dest, stateDir)
	if err == nil {
		r.print(w)
	}
	return err
}

// EncodeStatus writes the same as an object of JSON.
func EncodeStatus(w io.Writer, dest, stateDir string) error {
	r, err := lookAtCopy(dest, stateDir)
	if err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return exit.With(exit.Local, e.Encode(r), "")
}

// Check writes in one line how the copy at dest stands. It is well if it was confirmed within the
// time age, the last pass failed neither with a path nor for the copy's disk, and no deletion is held; else the error, which
// carries exit.Failed, is exit.ErrTold. Like PrintStatus it only reads the disk.
func Check(w io.Writer, dest, stateDir string, age time.Duration) error {
	r, err := lookAtCopy(dest, stateDir)
	if err != nil {
		return err
	}
	wrong := r.wrong(age)
	if len(wrong) == 0 {
		_, err := fmt.Fprintf(w, "ok: confirmed %s ago, %d entries\n", r.lag(), r.Entries)
		return exit.With(exit.Local, err, "")
	}
	if _, err := fmt.Fprintln(w, strings.Join(wrong, "; ")); err != nil {
		return exit.With(exit.Local, err, "")
	}
	return exit.With(exit.Failed, exit.ErrTold, "")
}

// copysDisk begins what a status says of a failure of the copy's disk.
const copysDisk = "the copy's disk: "

// wrong says what keeps the copy from being well, as Check has it.
func (r *copyReport) wrong(age time.Duration) (wrong []string) {
	late := ""
	switch {
	case r.Confirmed == nil:
		late = "never confirmed"
	case r.State == wire.Filling: // confirmed this moment: its counts are not written yet
		late = "the first copy is not complete yet" // guard: TestWhatIsWrongWithACopy
	case r.lag() < 0: // guard: TestWhatIsWrongWithACopy
		late = fmt.Sprintf("confirmed %s ahead of this machine's clock", -r.lag())
	case r.lag() > age:
		late = fmt.Sprintf("confirmed %s ago, more than %s", r.lag(), age)
	}
	if late != "" && r.Away != nil {
		late += ", source unreachable since " + r.Away.Format(time.RFC3339)
	}
	if late != "" && r.Error != "" {
		late += ", " + strconv.Quote(r.Error)
	}
	if late != "" {
		wrong = append(wrong, late)
	}
	switch disk := strings.HasPrefix(r.Error, copysDisk) || r.Error == pass.ErrFlush.Error(); {
	case r.Failed > 0:
		wrong = append(wrong, fmt.Sprintf("%d paths failed in the last pass", r.Failed))
	case late == "" && disk: // guard: TestWhatIsWrongWithACopy
		wrong = append(wrong, "the last pass failed: "+strconv.Quote(r.Error))
	}
	if r.Held > 0 {
		why := "" // a hold that was written before its list
		if len(r.HeldDeletions) > 0 {
			why = ": " + r.HeldDeletions[0].Why
		}
		wrong = append(wrong, fmt.Sprintf("deletions of %d entries are held%s", r.Held, why))
	}
	return wrong
}

// lag returns how long ago the copy was confirmed.
func (r *copyReport) lag() time.Duration {
	return time.Duration(*r.Lag * float64(time.Second)).Round(time.Millisecond)
}

// lookAtCopy reads what is known of a copy.
func lookAtCopy(dest, stateDir string) (*copyReport, error) {
	l, err := replica.LookAt(dest, stateDir)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	held, err := l.Held()
	if err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	uncopied, err := l.Uncopied()
	if err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	sources, err := l.Sources()
	if err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	s, counters, confirmed := &l.Status, replica.CountersOf(&l.Status), l.Confirmed()
	r := &copyReport{
		State: l.State, Source: state.SourceName(l.Tree.Upstream), Tree: l.Tree.ID,
		SourceState: s.SourceState, SourceUnread: s.SourceUnread, Walks: s.Walked && l.State == wire.Unwatched,
		Root: s.Root, Away: clockTime(s.Away), Updated: clockTime(s.Updated), Confirmed: clockTime(confirmed),
		Entries: counters.Entries, Incomplete: counters.Incomplete, Failed: counters.Failed, Error: s.Error,
		SourceEntries: s.SourceEntries, Counted: l.Counted(), NotCopied: uncopied.Total(), Unread: s.Unread, Held: held.Total(),
	}
	r.Backup, _ = l.NotedBackup() // "" if it cannot be read
	if r.Tree != "" {
		r.Epoch, r.Older = l.Tree.Epoch, l.Tree.Older
		if l.Tree.Path != "/" {
			r.Path = l.Tree.Path
		}
	}
	if confirmed != nil {
		ago := machine.Now().Sub(*confirmed)
		if ago > -time.Minute { // a clock may be set by some seconds
			ago = max(0, ago)
		}
		lag := ago.Seconds()
		r.Lag = &lag
	}
	if kept, err := l.IsKept(); err == nil && kept && s.Pass != nil { // guard (without kept): TestThePassOfAKilledMirror
		r.Pass = reportPass(s.Pass)
	}
	if counters.Ended != 0 {
		ended := time.Unix(counters.Ended, 0).UTC()
		r.LastChange = &ended
	}
	for _, s := range sources {
		r.Sources = append(r.Sources, sourceReport{s.Name, s.Used, s.Since.Time(), s.Why})
	}
	for i := range held.Entries {
		e := &held.Entries[i]
		r.HeldDeletions = append(r.HeldDeletions, heldDeletion{e.Why, e.Kind.String(), mtree.EscapeName(e.Path), e.Entries})
	}
	return r, nil
}

// clockTime returns a stamp of our clock as a time; nil for nil.
func clockTime(s *mtree.Stamp) *time.Time {
	if s == nil {
		return nil
	}
	t := s.Time()
	return &t
}

// print writes the report as lines.
func (r *copyReport) print(w io.Writer) {
	fmt.Fprintf(w, "state: %s\nsource: %s\n", r.State, r.Source)
	r.printSources(w)
	fmt.Fprint(w, r.treeLines())
	r.printSource(w)
	if r.Walks {
		fmt.Fprintln(w, "stamps: do not prune, for those of the source do not: every pass is a full walk")
	}
	if r.Root != nil {
		fmt.Fprintf(w, "root: %s\n", *r.Root)
	}
	r.printLag(w)
	if r.LastChange != nil {
		fmt.Fprintf(w, "last change: %s\n", r.LastChange.Format(time.RFC3339))
	}
	if r.Updated != nil {
		fmt.Fprintf(w, "updated: %s\n", r.Updated.Format(time.RFC3339))
	}
	if r.Pass != nil {
		fmt.Fprintf(w, "pass: %s, since %s\n", r.Pass.line, r.Pass.Began.Format(time.RFC3339))
	}
	if r.SourceEntries != nil {
		fmt.Fprintf(w, "source entries: %d files, %d directories, %d bytes, as its last audit counted\n",
			r.SourceEntries.Files, r.SourceEntries.Directories, r.SourceEntries.Bytes)
	}
	fmt.Fprintf(w, "entries: %d\nincomplete: %d\nfailed: %d\n", r.Entries, r.Incomplete, r.Failed)
	if r.Error != "" {
		fmt.Fprintf(w, "error: %q\n", r.Error)
	}
	fmt.Fprintf(w, "not copied: %d\n", r.NotCopied)
	if r.Unread > 0 {
		fmt.Fprintf(w, "not readable at the source: %d directories, which the copy never had whole\n", r.Unread)
	}
	if r.Backup != "" {
		fmt.Fprintf(w, "backup: %q\n", r.Backup)
	}
	fmt.Fprintf(w, "held: %d\n", r.Held)
	for i, e := range r.HeldDeletions {
		if i == 0 || e.Why != r.HeldDeletions[i-1].Why {
			fmt.Fprintf(w, "held because: %s\n", e.Why)
		}
		path, _ := mtree.UnescapeName(e.Path)
		fmt.Fprintf(w, "  %s %s, %d entries\n", e.Kind, mtree.QuotePath(path), e.Entries)
	}
}

// printSources writes which of several sources is used, and why others are not.
func (r *copyReport) printSources(w io.Writer) {
	for i, s := range r.Sources {
		how := "not needed"
		switch {
		case s.Used:
			how = "used"
		case s.Why != "":
			how = "not used: " + mtree.QuotePath(s.Why)
		}
		fmt.Fprintf(w, "source %d: %s: %s, since %s\n", i+1, mtree.QuotePath(s.Source), how, s.Since.Format(time.RFC3339))
	}
}

// printSource writes what the source said of itself when the last pass began: the copy is
// no better than that.
func (r *copyReport) printSource(w io.Writer) {
	if r.SourceState != "" {
		word := strings.Trim(strconv.Quote(string(r.SourceState)), `"`) // whatever bytes the source sent
		fmt.Fprintf(w, "source state: %s%s\n", word, map[wire.State]string{
			wire.Audited:  ", nobody hears its changes: its next audit finds them",
			wire.Degraded: ", not all of its changes are heard: its audits find them",
			wire.Stale:    ", its mirror does not run",
		}[r.SourceState])
	}
	if r.SourceUnread > 0 {
		fmt.Fprintf(w, "not published by the source: %d directories, which its watch may not read; what the copy has of them stays as it is\n", r.SourceUnread)
	}
}

// treeLines says which tree the copy was made from.
func (r *copyReport) treeLines() string {
	switch {
	case r.Tree == "":
		return "tree: none, the source has no id\n"
	case r.Older != 0:
		return fmt.Sprintf("tree: %s epoch %d, the source is of an older lineage, epoch %d\n", r.Tree, r.Epoch, r.Older)
	case r.Path != "":
		return fmt.Sprintf("tree: %s epoch %d\npath: %q\n", r.Tree, r.Epoch, r.Path)
	}
	return fmt.Sprintf("tree: %s epoch %d\n", r.Tree, r.Epoch)
}

// printLag writes up to when the copy is known to equal what the source published, and
// how long ago that was. A live mirror asks an idle source at least every 45 s.
func (r *copyReport) printLag(w io.Writer) {
	if r.Confirmed == nil {
		fmt.Fprintln(w, "lag: unknown")
	} else {
		fmt.Fprintf(w, "lag: %s\nconfirmed until: %s\n", r.lag(), r.Confirmed.Format(time.RFC3339))
	}
	if r.Away != nil {
		fmt.Fprintf(w, "source unreachable since: %s\n", r.Away.Format(time.RFC3339))
	}
}
