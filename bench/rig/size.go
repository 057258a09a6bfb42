package rig

import (
	"fmt"
	"os/exec"
	"strings"
)

// SameSize compares two trees by the number of files and of bytes in them.
func SameSize(a, b string) error {
	count := func(root string) string {
		command := "find . -path ./.tidemark -prune -o -type f -printf '%s\\n' | awk '{ n++; s += $1 } END { print n, s }'"
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(string(out))
	}
	if x, y := count(a), count(b); x != y {
		return fmt.Errorf("the copy is not whole: %s and %s (files and bytes)", x, y)
	}
	return nil
}
