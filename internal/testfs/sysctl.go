package testfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// WithSysctl sets a limit of the kernel while do runs, which must be short: all programs share the
// limit. Tests of other processes that set one wait meanwhile: else each would put back what the other
// had set.
func WithSysctl(t testing.TB, name string, value int, do func()) {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "tidemark-sysctl.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		defer lock.Close()
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
	}
	path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	before, readErr := os.ReadFile(path)
	if err != nil || readErr != nil {
		t.Fatal(err, readErr)
	}
	set := func(text []byte) {
		if err := os.WriteFile(path, text, 0); err != nil {
			t.Fatal(err)
		}
	}
	set(fmt.Append(nil, value))
	defer set(before)
	do()
}
