package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Equal waits until each file that was written to is the same in the copy, and then
// compares all names, sizes and times of the files of the two trees.
func (w *Writer) Equal() error {
	if err := w.Landed(); err != nil {
		return err
	}
	files := 0
	err := eachFile(w.Source, func(name string, here fs.FileInfo) error {
		files++
		there, err := os.Lstat(filepath.Join(w.Copy, name))
		if err == nil && (there.Size() != here.Size() || !there.ModTime().Equal(here.ModTime())) {
			err = fmt.Errorf("%s: %d bytes of %s in the source, %d bytes of %s in the copy", name, here.Size(), here.ModTime(), there.Size(), there.ModTime())
		}
		return err
	})
	if err != nil {
		return err
	}
	err = eachFile(w.Copy, func(string, fs.FileInfo) error { files--; return nil })
	if err == nil && files != 0 {
		err = fmt.Errorf("the copy has %d files less than the source", files)
	}
	return err
}

// FilesOf returns the paths of all regular files below root.
func FilesOf(root string) (files []string, err error) {
	err = eachFile(root, func(name string, _ fs.FileInfo) error {
		files = append(files, name)
		return nil
	})
	return files, err
}

// eachFile passes over .tidemark and over what vanishes meanwhile.
func eachFile(root string, call func(name string, info fs.FileInfo) error) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == ".tidemark" {
			return filepath.SkipDir
		}
		var info fs.FileInfo
		if err == nil && e.Type().IsRegular() {
			info, err = e.Info()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || info == nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return call(name, info)
	})
}
