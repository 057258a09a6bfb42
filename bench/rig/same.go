package rig

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// SameContents checks that two trees have the same regular files, byte by byte. It passes over what tools
// keep in a tree for themselves: .tidemark and .stfolder.
func SameContents(source, to string) error {
	here, err := namesOf(source)
	if err != nil {
		return err
	}
	there, err := namesOf(to)
	if err != nil {
		return err
	}
	for name := range there {
		if !here[name] {
			return fmt.Errorf("the copy has %s, which the source has not", name)
		}
	}
	names := make(chan string)
	var workers sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		workers.Go(func() {
			for name := range names {
				if err := sameFile(filepath.Join(source, name), filepath.Join(to, name)); err != nil && errs[i] == nil {
					errs[i] = err
				}
			}
		})
	}
	for name := range here {
		names <- name
	}
	close(names)
	workers.Wait()
	if errs[0] != nil {
		return errs[0]
	}
	return errs[1]
}

func sameFile(source, to string) error {
	a, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(to)
	if err != nil {
		return fmt.Errorf("the copy is not whole: %w", err)
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("%s has %d bytes, the source %d others", to, len(b), len(a))
	}
	return nil
}

// namesOf returns the paths of all that is no directory.
func namesOf(root string) (map[string]bool, error) {
	names := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if e.Name() == ".tidemark" || e.Name() == ".stfolder" {
				return filepath.SkipDir
			}
			return nil
		}
		names[strings.TrimPrefix(path, root+"/")] = true
		return nil
	})
	return names, err
}
