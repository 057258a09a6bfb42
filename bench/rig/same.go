package rig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
			var buffers [2][128 << 10]byte
			for name := range names {
				if err := sameFile(filepath.Join(source, name), filepath.Join(to, name), &buffers); err != nil && errs[i] == nil {
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

// sameFile compares piece by piece: files may be larger than the memory.
func sameFile(source, to string, buffers *[2][128 << 10]byte) error {
	a, err := os.Open(source)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(to)
	if err != nil {
		return fmt.Errorf("the copy is not whole: %w", err)
	}
	defer b.Close()
	for {
		n, err := io.ReadFull(a, buffers[0][:])
		m, errB := io.ReadFull(b, buffers[1][:])
		if !bytes.Equal(buffers[0][:n], buffers[1][:m]) {
			return fmt.Errorf("%s is not what is in the source", to)
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil // both have ended, with as many bytes
		case err != nil || errB != nil:
			return errors.Join(err, errB)
		}
	}
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
