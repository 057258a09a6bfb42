package beneath

import (
	pathpkg "path"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys"
)

// maxLinks is how many symlinks Resolve follows for one path, as the kernel does
// (path_resolution(7)).
const maxLinks = 40

// Resolve follows every symlink in path and returns the path below the directory dirfd
// to which they lead: one without symlinks at the time of the call. Whoever opens that
// path must again not follow any. A link that is absolute, leads out of the directory
// or crosses a mount (unless crossMounts) gives EXDEV; more than 40 links give ELOOP.
//
// Cost: three system calls for each symlink and three more, where symlinks stand at
// the end of paths; else three more for each component.
func Resolve(dirfd int, path string, crossMounts bool) (string, error) {
	rest := path
	for range maxLinks + 1 {
		if rest == "" {
			return "", nil
		}
		target, err := linkAt(dirfd, rest, crossMounts)
		switch {
		case err == nil && target == "":
			return lexical(rest), nil
		case err == nil:
			rest, err = follow(mtree.ParentPath(lexical(rest)), target, "")
		default: // a symlink on the way, or nothing there
			rest, err = followFirst(dirfd, rest, crossMounts)
		}
		if err != nil {
			return "", err
		}
	}
	return "", unix.ELOOP
}

// lexical returns path without "." and "..". It names the same place only if no
// component is a symlink.
func lexical(path string) string {
	return strings.TrimPrefix(pathpkg.Clean("/"+path), "/")
}

// follow returns the path to which a symlink in the directory dir leads, with rest
// after it unless that is "".
func follow(dir, target, rest string) (string, error) {
	if target[0] == '/' {
		return "", unix.EXDEV
	}
	if rest != "" {
		target += "/" + rest
	}
	return mtree.JoinPath(dir, target), nil
}

// followFirst goes down path to its first symlink and returns the path with that link
// followed. Without symlinks it returns the path itself, as lexical does.
func followFirst(dirfd int, path string, crossMounts bool) (string, error) {
	done := ""
	for todo := path; todo != ""; {
		var name string
		name, todo, _ = strings.Cut(todo, "/")
		switch name {
		case "", ".":
			continue
		case "..":
			if done == "" {
				return "", unix.EXDEV
			}
			done = mtree.ParentPath(done)
			continue
		}
		next := mtree.JoinPath(done, name)
		target, err := linkAt(dirfd, next, crossMounts)
		switch {
		case err != nil:
			return "", err
		case target != "":
			return follow(done, target, todo)
		}
		done = next
	}
	return done, nil
}

// linkAt returns the target of the symlink at path, "" if something else is there.
func linkAt(dirfd int, path string, crossMounts bool) (string, error) {
	fd, err := Open(dirfd, path, unix.O_PATH, crossMounts)
	if err != nil {
		return "", err
	}
	defer sys.Close(fd)
	buf := make([]byte, unix.PathMax)
	n, err := sys.Readlinkat(fd, "", buf)
	if err == unix.ENOENT || err == unix.EINVAL {
		return "", nil // readlinkat(2): the descriptor is not that of a symlink
	}
	return string(buf[:max(n, 0)]), err
}
