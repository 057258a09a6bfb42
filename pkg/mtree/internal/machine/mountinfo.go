package machine

import (
	"fmt"
	"path"
	"strings"

	"tidemark/pkg/mtree/internal/sys"
)

const mountInfo = "/proc/self/mountinfo"

// mountLine is one line of mountInfo: the directory root of the file system dev appears
// at point. See proc_pid_mountinfo(5).
type mountLine struct {
	id, parent       string
	dev, root, point string
	kind, source     string // type of the file system, and what is mounted
}

// readMounts returns the mounts of this process's namespace. Of several at one place the
// last one is on top, unless one spread to it from elsewhere.
func readMounts() (all []mountLine, err error) {
	text, err := sys.ReadFile(mountInfo)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if m, ok := parseMount(line); ok {
			all = append(all, m)
		}
	}
	return all, nil
}

func parseMount(line string) (m mountLine, ok bool) {
	head, tail, _ := strings.Cut(line, " - ")
	f := strings.Split(head, " ") // other blanks may be part of a path
	if len(f) < 5 || f[4] == "" {
		return m, false
	}
	m = mountLine{id: f[0], parent: f[1], dev: f[2], root: unescapeMount.Replace(f[3]), point: unescapeMount.Replace(f[4])}
	if kind := strings.Split(strings.TrimSuffix(tail, "\n"), " "); len(kind) >= 2 {
		m.kind, m.source = kind[0], kind[1]
	}
	return m, true
}

// unescapeMount undoes what mangle_path of the kernel does.
var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// isIn reports whether path is dir or below it.
func isIn(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(dir, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

// mountID returns the id of the mount on which fd lies, "" if it is not known.
func mountID(fd int) string {
	own, err := sys.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return ""
	}
	_, id, _ := strings.Cut(string(own), "mnt_id:")
	id, _, _ = strings.Cut(strings.TrimSpace(id), "\n")
	return id
}

// Location returns where a path lies, whatever bind mounts are on the way: the device
// of the file system, MAJOR:MINOR, and the path in it. The path must be absolute and
// without symlinks. Both are "" without /proc.
func Location(full string) (device, inside string) {
	mounts, _ := readMounts() // without them nothing is known
	at := ""
	for _, m := range mounts {
		if isIn(full, m.point) && len(m.point) >= len(at) { // of several at one place the last one counts
			at, device, inside = m.point, m.dev, path.Join(m.root, strings.TrimPrefix(full, m.point))
		}
	}
	return device, inside
}

// MountSource returns type and source of the mount on which fd lies, such as
// "nfs4 host:/export"; "" if they are not known.
func MountSource(fd int) string {
	id := mountID(fd)
	mounts, _ := readMounts() // without them it is not known
	for _, m := range mounts {
		if m.id == id && m.kind != "" {
			return m.kind + " " + m.source
		}
	}
	return ""
}
