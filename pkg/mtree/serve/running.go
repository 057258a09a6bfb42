package serve

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"tidemark/internal/presence"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// running is what a serve says of itself to those who ask on its machine: no path, no client, no
// token.
type running struct {
	Version   string     `json:"version"`
	Since     time.Time  `json:"since"`
	State     wire.State `json:"state"`              // that it publishes
	Replaced  bool       `json:"replaced,omitempty"` // it publishes nothing: another directory is at the path of its root
	Addresses []string   `json:"addresses"`
	Hidden    bool       `json:"hidden"`  // options
	Excludes  int        `json:"exclude"` // globs
	Owner     bool       `json:"owner"`
	Tar       bool       `json:"tar"`
	Tokens    bool       `json:"tokens"` // it asks for one
	Waiting   int64      `json:"waiting"`
	Requests  int64      `json:"requests"`
	Files     int64      `json:"files"`
	FileBytes int64      `json:"file_bytes"`
	Refused   int64      `json:"refused"`
	Failed    int64      `json:"failed"`
}

// Announce lets PrintStatus find this serve, which listens at these addresses, until end is called or the
// process ends. Where that is not possible the error says why; serve needs it for nothing else.
func (h *Handler) Announce(addresses []string) (end func(), err error) {
	self, err := h.tree.Root().Self()
	if err != nil {
		return func() {}, err
	}
	a, err := presence.Announce(announcedAs(self), func() []byte {
		text, _ := json.Marshal(h.running(addresses))
		return text
	})
	if err != nil {
		return func() {}, err
	}
	return a.Close, nil
}

// announcedAs returns the name under which serves of a directory are announced.
func announcedAs(root disk.Info) string {
	return fmt.Sprintf("serve/%x-%x", root.Node.Dev, root.Node.Ino)
}

func (h *Handler) running(addresses []string) running {
	s, c, n := h.tree.Now(), &h.cfg, h.cfg.Stats
	return running{
		Version: c.Version, Since: h.made, State: s.State, Replaced: s.Replaced, Addresses: addresses,
		Hidden: c.Hidden, Excludes: len(c.Exclude), Owner: c.Owner, Tar: c.Tar, Tokens: h.guard.wanted,
		Waiting: n.Waiting.Load(), Requests: n.Requests.Load(), Files: n.Files.Load(), FileBytes: n.FileBytes.Load(),
		Refused: n.Refused.Load(), Failed: n.Failed.Load(),
	}
}

// selfReport is what serve says of itself in its log: in the order of --status, without lists of others.
type selfReport struct {
	State      wire.State     `json:"state"`
	Replaced   bool           `json:"replaced,omitempty"`
	Tree       string         `json:"tree,omitempty"`
	Epoch      uint64         `json:"epoch,omitempty"`
	Path       string         `json:"path,omitempty"`
	Root       *mtree.Stamp   `json:"root,omitempty"`
	Checkpoint *mtree.Stamp   `json:"checkpoint,omitempty"`
	Lag        *float64       `json:"lag,omitempty"`
	Entries    *state.Entries `json:"entries,omitempty"`
	Unread     int            `json:"unread,omitempty"`
	Since      time.Time      `json:"since"`
	Waiting    int64          `json:"waiting"`
	Requests   int64          `json:"requests"`
	Files      int64          `json:"files"`
	FileBytes  int64          `json:"file_bytes"`
	Refused    int64          `json:"refused"`
	Failed     int64          `json:"failed"`
}

// EncodeSelf writes what this serve publishes and what it has done as an object of JSON.
func (h *Handler) EncodeSelf(w io.Writer) error {
	s, n := h.tree.Reread(), h.running(nil)
	out := selfReport{
		State: n.State, Replaced: s.Replaced, Checkpoint: s.Status.Current(), Entries: s.Counted(), Unread: s.UnreadDirs(), Since: n.Since,
		Waiting: n.Waiting, Requests: n.Requests, Files: n.Files, FileBytes: n.FileBytes, Refused: n.Refused, Failed: n.Failed,
	}
	out.Lag = lagOf(out.Checkpoint, h.now())
	if self, err := h.tree.Lister(s).Self(h.tree.Root(), ""); err == nil {
		out.Root = &self.MTime
	}
	if s.Tree.ID != "" {
		out.Tree, out.Epoch, out.Path = s.Tree.ID, s.Tree.Epoch, s.Tree.At("")
	}
	return exit.With(exit.Local, json.NewEncoder(w).Encode(out), "")
}

// found is a serve as --status shows it.
type found struct {
	PID    int    `json:"pid,omitempty"` // left out if it is in another PID namespace
	UID    int    `json:"uid"`
	Silent string `json:"silent,omitempty"` // why nothing else is known of it
	*running
}

// treeStatus is what --status shows.
type treeStatus struct {
	State      wire.State     `json:"state"` // as a serve that starts now would publish it
	Tree       string         `json:"tree,omitempty"`
	Epoch      uint64         `json:"epoch,omitempty"`
	Path       string         `json:"path,omitempty"` // which directory of the tree a copy is; "": the root
	Root       *mtree.Stamp   `json:"root,omitempty"`
	Checkpoint *mtree.Stamp   `json:"checkpoint,omitempty"`
	Lag        *float64       `json:"lag,omitempty"` // seconds since the checkpoint
	Entries    *state.Entries `json:"entries,omitempty"`
	Upstream   []upstream     `json:"upstream,omitempty"`
	Unread     int            `json:"unread,omitempty"` // directories that are not published
	Serves     []found        `json:"serves"`
}

// PrintStatus writes what would be published of the directory at root, and which serves of this machine
// publish it, as lines "name: value". It makes no request.
func PrintStatus(w io.Writer, root, stateDir string) error {
	s, err := lookAtServes(root, stateDir)
	if err == nil {
		s.print(w)
	}
	return err
}

// EncodeStatus writes the same as an object of JSON.
func EncodeStatus(w io.Writer, root, stateDir string) error {
	s, err := lookAtServes(root, stateDir)
	if err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return exit.With(exit.Local, e.Encode(s), "")
}

// lookAtServes reads what the tree says of itself, and asks its serves.
func lookAtServes(root, stateDir string) (*treeStatus, error) {
	c := Config{Root: root, StateDir: stateDir}.withDefaults()
	t, err := openTree(&c)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	self, err := t.Root().Self()
	if err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	s, now := t.Now(), mtree.FromTime(time.Now())
	out := &treeStatus{State: s.State, Root: &self.MTime, Entries: s.Counted(), Unread: s.UnreadDirs(), Serves: []found{}}
	if shown, err := t.Lister(s).Self(t.Root(), ""); err == nil {
		out.Root = &shown.MTime // of a tree whose root refuses its time, another one
	}
	out.Checkpoint = s.Status.Current()
	out.Lag = lagOf(out.Checkpoint, now)
	if s.Tree.ID != "" {
		out.Tree, out.Epoch = s.Tree.ID, s.Tree.Epoch
		if at := s.Tree.At(""); at != "/" {
			out.Path = at
		}
	}
	for _, step := range s.Upstreams() {
		out.Upstream = append(out.Upstream, upstream{step.Host, step.Root, step.Checkpoint, lagOf(step.Checkpoint, now)})
	}
	all, err := presence.Find(announcedAs(self))
	if err != nil {
		return nil, exit.With(exit.Local, err, "/proc must be mounted")
	}
	for _, f := range all {
		out.Serves = append(out.Serves, foundAs(&f))
	}
	slices.SortFunc(out.Serves, func(a, b found) int { return a.PID - b.PID })
	return out, nil
}

// foundAs reads what a serve says of itself. Whoever it is may say anything.
func foundAs(f *presence.Found) found {
	out := found{PID: f.PID, UID: f.UID}
	var says running
	err := f.Err
	if err == nil {
		err = json.Unmarshal(f.Answer, &says)
	}
	if err != nil {
		out.Silent = "it does not answer"
		return out
	}
	out.running = &says
	return out
}

// print writes it as lines.
func (s *treeStatus) print(w io.Writer) {
	fmt.Fprintf(w, "state: %s\n", s.State)
	if s.Tree != "" {
		fmt.Fprintf(w, "tree: %s\nepoch: %d\n", s.Tree, s.Epoch)
	}
	if s.Path != "" {
		fmt.Fprintf(w, "path: %q\n", s.Path)
	}
	fmt.Fprintf(w, "root: %s\n", s.Root)
	if s.Checkpoint != nil {
		fmt.Fprintf(w, "checkpoint: %s\nlag: %.3fs\n", s.Checkpoint, *s.Lag)
	}
	if s.Entries != nil {
		fmt.Fprintf(w, "entries: %s\n", s.Entries)
	}
	for _, u := range s.Upstream {
		fmt.Fprintf(w, "upstream: %s, root %s\n", u.Host, u.Root)
	}
	if s.Unread > 0 {
		fmt.Fprintf(w, "not published: %d directories, which watch may not read\n", s.Unread)
	}
	fmt.Fprintf(w, "serves: %d\n", len(s.Serves))
	for i := range s.Serves {
		s.Serves[i].print(w)
	}
}

func (f *found) print(w io.Writer) {
	fmt.Fprintln(w)
	if f.PID != 0 {
		fmt.Fprintf(w, "pid: %d\n", f.PID)
	}
	fmt.Fprintf(w, "uid: %d\n", f.UID)
	if f.running == nil {
		fmt.Fprintf(w, "silent: %s\n", f.Silent)
		return
	}
	r := f.running
	fmt.Fprintf(w, "version: %s\nsince: %s\nstate: %s\n", printable(r.Version), r.Since.UTC().Format(time.RFC3339), printable(string(r.State)))
	if r.Replaced {
		fmt.Fprintln(w, "replaced: another directory is at the path of its root, it publishes nothing")
	}
	for _, a := range r.Addresses {
		fmt.Fprintf(w, "address: %s\n", printable(a))
	}
	fmt.Fprintf(w, "options: hidden %t, exclude %d, owner %t, tar %t, tokens %t\n", r.Hidden, r.Excludes, r.Owner, r.Tar, r.Tokens)
	fmt.Fprintf(w, "waiting: %d\nrequests: %d\nfiles: %d\nfile_bytes: %d\nrefused: %d\nfailed: %d\n",
		r.Waiting, r.Requests, r.Files, r.FileBytes, r.Refused, r.Failed)
}

// printable returns text of another process without what a terminal would obey.
func printable(text string) string {
	quoted := fmt.Sprintf("%+q", text)
	return quoted[1 : len(quoted)-1]
}
