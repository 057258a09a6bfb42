package handles

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// Dir returns the path of the directory below the root; false if it is not, or no longer,
// below the root. An error means that this cannot be known.
func (r *Resolver) Dir(dir string) (path string, ok bool, err error) {
	if path, ok := r.paths[dir]; ok {
		return path, true, nil
	}
	if path, ok, err = r.find(dir); ok && err == nil {
		if r.pathBytes += len(dir) + len(path); r.pathBytes > maxPaths {
			r.Renamed()
		}
		r.paths[dir] = path
	}
	return path, ok, err
}

// find does what Dir does, for a directory whose path is not kept.
func (r *Resolver) find(dir string) (path string, ok bool, err error) {
	fd, err := r.openDir(dir)
	switch {
	case errors.Is(err, unix.ESTALE):
		return "", false, nil // gone
	case err != nil:
		return "", false, fmt.Errorf("open_by_handle_at: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink == 0 {
		r.release(dir, r.open[dir])
		return "", false, nil
	}
	if path, ok := r.climbed[inodeOf(&st)]; ok {
		return path, true, nil
	}
	if r.deep && r.isBelowOutside(fd) {
		r.leave(dir)
		return "", false, nil
	}
	full, err := readlink(fd)
	if errors.Is(err, unix.ENAMETOOLONG) {
		r.deep = true
		return r.climb(dir, fd)
	}
	if err != nil {
		return "", false, fmt.Errorf("readlink: %w", err)
	}
	path, ok = r.below(full)
	if !ok {
		r.leave(dir)
	}
	return path, ok, nil
}

// ErrNoName says that the kernel does not know the name of a file.
var ErrNoName = errors.New("the kernel knows no name of it")

// File returns the directory and the name of the file. If the name is "", the file is
// gone, or outside the tree. System calls:
//
//	open_by_handle_at, fstat, readlink, newfstatat
func (r *Resolver) File(id string) (dir, name string, err error) {
	fd, err := r.openHandle(id, 0)
	if errors.Is(err, unix.ESTALE) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	defer unix.Close(fd)
	var self, there unix.Stat_t
	if err := unix.Fstat(fd, &self); err != nil || self.Nlink == 0 {
		return "", "", err
	}
	full, err := readlink(fd)
	if err != nil {
		return "", "", err
	}
	dir, name = path.Split(full)
	if name == "" {
		return "", "", ErrNoName // "/": the file is its own root
	}
	dir, inside := r.below(path.Clean(dir))
	if !inside {
		return "", "", nil
	}
	err = unix.Fstatat(r.root, path.Join(".", dir, name), &there, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil || there.Dev != self.Dev || there.Ino != self.Ino {
		return "", "", ErrNoName // "name (deleted)", and it has others
	}
	return dir, name, nil
}

// Remounted forgets everything that was found, and mounts that are gone, no longer in the
// tree, or covered by others. It returns those mounts. The root's mount stays.
func (r *Resolver) Remounted() (gone []Mount) {
	r.Begin()
	for dir, o := range r.open {
		r.release(dir, o)
	}
	r.Arrived()
	ids, err := MountIDs()
	r.mu.Lock()
	defer r.mu.Unlock()
	for fs, all := range r.mounts {
		kept := slices.Clone(all[:0])
		for _, m := range all {
			path, at := readlink(m.fd)
			below, inside := r.below(path)
			if err != nil || inside && at == nil && ids[m.id] && !r.isCovered(below, m) || r.isRoots(m) { // guard (without !r.isCovered): TestMountsOneOverTheOther
				kept = append(kept, m)
				continue
			}
			_ = unix.Close(m.fd)
			gone = append(gone, m.Mount)
		}
		if r.mounts[fs] = kept; len(kept) == 0 {
			delete(r.mounts, fs)
		}
	}
	return gone
}

// isCovered reports whether another mount is to be seen where m is mounted, or nothing. By a mount
// that is covered, a directory has a path that leads elsewhere, and one by which it is in the tree
// might not be asked. When m comes to light again, it is walked, and added anew.
func (r *Resolver) isCovered(place string, m mounted) bool {
	var stx unix.Statx_t
	err := unix.Statx(r.root, path.Join(".", place), unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &stx)
	if err != nil {
		return err == unix.ENOENT || err == unix.ENOTDIR
	}
	return mountIn(&stx) != m.Mount
}

// isRoots reports whether m is the mount that the root is on.
func (r *Resolver) isRoots(m mounted) bool {
	on, err := MountOf(r.root)
	return err == nil && on == m.Mount
}
