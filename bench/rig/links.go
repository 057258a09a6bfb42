package rig

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// Link makes percent of the names of a tree hard links, in groups of two to four names that may
// lie anywhere. paths are those that Files returned.
func Link(root string, paths []string, percent int) error {
	random := rand.New(rand.NewPCG(3, 4))
	random.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	for linked := len(paths) * percent / 100; linked > 1; {
		group := paths[:min(2+random.IntN(3), linked)]
		paths, linked = paths[len(group):], linked-len(group)
		for _, name := range group[1:] {
			path := filepath.Join(root, name)
			if err := os.Remove(path); err != nil {
				return err
			}
			if err := os.Link(filepath.Join(root, group[0]), path); err != nil {
				return err
			}
		}
	}
	return nil
}

// SameLinks checks that two trees have the same names, and that those are one file in the one which
// are one file in the other: that the classes of `find -printf %i` are equal.
func SameLinks(source, to string) error {
	here, there := map[uint64]uint64{}, map[uint64]uint64{} // inodes
	return eachFile(source, func(name string, info fs.FileInfo) error {
		is, err := os.Lstat(filepath.Join(to, name))
		if err != nil {
			return err
		}
		a, b := info.Sys().(*syscall.Stat_t).Ino, is.Sys().(*syscall.Stat_t).Ino
		if was, ok := here[a]; ok && was != b {
			return fmt.Errorf("%s: one file in the source, two in the copy", name)
		}
		if was, ok := there[b]; ok && was != a {
			return fmt.Errorf("%s: two files in the source, one in the copy", name)
		}
		here[a], there[b] = b, a
		return nil
	})
}
