package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Without events a --sync that came while an audit ran was answered at its end, though
// that audit may have passed the change already: it waits for the next one.
func TestSyncDuringAnAudit(t *testing.T) {
	root := newTree(t)
	for i := range 2000 {
		must(t, os.MkdirAll(filepath.Join(root, fmt.Sprint(i)), 0o755))
	}
	audits, ended := make(chan struct{}), make(chan struct{})
	r := start(t, Config{Root: root, Backend: "none", Audit: audits})
	defer close(ended)
	go func() {
		for {
			select {
			case audits <- struct{}{}:
			case <-ended:
				return
			}
		}
	}()
	for i := range 15 {
		dir := fmt.Sprint(i * 100)
		before := stampOf(t, root, dir)
		write(t, filepath.Join(root, dir, "f"), "new")
		r.sync()
		if made := stampOf(t, root, dir); made == before || stampOf(t, root, ".").Before(made) {
			t.Fatalf("%s: %s after %s, the root %s", dir, made, before, stampOf(t, root, "."))
		}
	}
}
