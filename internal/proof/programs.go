package proof

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Main is a test's TestMain: it builds the three programs once, and puts them first in
// the PATH, also by the names that make install gives them. more are packages of other
// programs that the tests need, such as "tidemark/e2e/refuse". It returns the exit code.
//
//	func TestMain(m *testing.M) { os.Exit(proof.Main(m)) }
func Main(m *testing.M, more ...string) int {
	bin, err := os.MkdirTemp("", "tidemark-bin-")
	if err == nil {
		defer os.RemoveAll(bin)
		err = build(bin, more)
	}
	if err == nil {
		err = os.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	}
	if err != nil {
		_, _ = os.Stderr.WriteString("building the programs: " + err.Error() + "\n")
		return 1
	}
	return m.Run()
}

// build builds the programs into bin.
func build(bin string, more []string) error {
	if err := os.Chmod(bin, 0o755); err != nil { // a program may run as another user
		return err
	}
	args := append([]string{"build", "-o", bin, "tidemark/cmd/watch", "tidemark/cmd/serve", "tidemark/cmd/mirror"}, more...)
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	for _, name := range []string{"watch", "serve", "mirror"} {
		if err := os.Symlink(name, filepath.Join(bin, "tidemark-"+name)); err != nil {
			return err
		}
	}
	return nil
}
