package mirror

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys"
)

// checkKept: with --backup-dir, each file and symlink that a pass deleted or overwrote is there, with the bytes that it
// had, also if the pass was killed or its calls failed; after a power cut, what was complete before. Texts are
// of one file only.
func (s *sim) checkKept(b simBefore, now map[string]simEntry, cut bool) {
	if b.backup == "" || s.forgot || cut && s.unsafe {
		return
	}
	has := map[string]bool{}
	for _, is := range now {
		has[is.text] = true
	}
	for _, is := range s.readBackup(b.backup) {
		has[is.text] = true
	}
	for _, path := range sortedKeys(b.copy) {
		was := b.copy[path]
		if was.text == "" || has[was.text] || s.isLoose(path) || s.wounded[path] || cut && !b.copy[mtree.ParentPath(path)].complete {
			continue
		}
		s.wrong("/%s had %q, which is neither in the copy now nor in the backup", path, was.text)
	}
}

// readBackup reads a backup directory.
func (s *sim) readBackup(dir string) map[string]simEntry {
	defer sys.Simulate(s.shell.Process)()
	return readCopy(filepath.Join(simDest, dir))
}

// TestSimulatedBackups has a history for each way in which an entry leaves a copy: with a kill, a power cut
// or a call that fails at many of its calls, nothing is lost.
func TestSimulatedBackups(t *testing.T) {
	for name, history := range map[string]string{
		"overwritten":       "write f; mkdir a; write a/f; publish; pass; write f; write a/f; publish",
		"symlinks":          "link f; mkdir a; link a/f; write e; publish; pass; rm f; write f; rm a/f; link a/f; publish",
		"deleted":           "write f; write e; mkdir a; write a/f; write a/g; publish; pass; rm f; rm a/g; publish",
		"tree":              "mkdir a; mkdir a/d; write a/d/h; write a/f; write e; publish; pass; rm a; publish",
		"filtered":          "set filter=g; mkdir a; mkdir a/d; write a/d/h; write a/f; write e; publish; pass; local-write a/g; rm a; publish",
		"file to directory": "write a; write e; publish; pass; rm a; mkdir a; write a/f; publish",
		"directory to file": "mkdir a; mkdir a/d; write a/d/h; write a/f; write e; publish; pass; rm a; write a; publish",
		"directory to link": "mkdir a; write a/f; write e; publish; pass; rm a; link a; publish",
		"moved":             "mkdir a; mkdir b; write a/f; write a/g; write e; publish; pass; mv a/f b/f; swap a/g e; publish",
	} {
		t.Run(name, func(t *testing.T) {
			dirs := []string{"../backup", ".tidemark/backup"}
			for call := 5; call < 400; call += 1 + call/3 {
				for _, end := range []string{"kill %d", "cut %d", "errno ENOSPC %d 1000; pass", "errno EIO %d; pass"} {
					begin := append([]string{"set backup=" + dirs[call%2], "set commit=1"}, strings.Split(history, "; ")...)
					simulateOnce(t, slices.Concat(begin, strings.Split(fmt.Sprintf(end, call), "; "), []string{"pass"}))
				}
			}
		})
	}
}
