package rig

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// GoSource copies the source tree of the Go distribution: 11,478 files of all
// sizes in 1,324 directories, with Go 1.26.
func GoSource(root string) error {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	out, err := exec.Command("cp", "-a", strings.TrimSpace(string(goroot))+"/src", root).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	return nil
}

// Source makes the tree of a benchmark: files files, or the Go source tree if files is
// 0.
func Source(root string, files int) error {
	if files == 0 {
		return GoSource(root)
	}
	_, err := Files(root, files, 4096)
	debug.FreeOSMemory() // or programs that are started now would count it as their own
	return err
}

// Files makes a tree of n files of 0 to 4 KiB, a hundred in each directory, and a hundred
// of these directories in each directory above: 1,000,000 files lie in 10,101
// directories. Contents do not compress. If there are more than 200,000 files, three of
// four are empty, or two such trees would not fit into memory. It returns the paths of
// the files.
func Files(root string, files, most int) ([]string, error) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	var paths []string
	for i := 0; len(paths) < files; i++ {
		dir := fmt.Sprintf("part-%02d/chapter-%02d", i/100, i%100)
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return nil, err
		}
		for j := range min(100, files-len(paths)) {
			path := fmt.Sprintf("%s/section-%02d.txt", dir, j)
			size := 0
			if files <= 200_000 || j%4 == 0 {
				size = random.IntN(most + 1)
			}
			from := random.IntN(len(noise) - size)
			if err := os.WriteFile(filepath.Join(root, path), noise[from:from+size], 0o644); err != nil {
				return nil, err
			}
			paths = append(paths, path)
		}
	}
	return paths, nil
}
