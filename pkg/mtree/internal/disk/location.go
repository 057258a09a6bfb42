package disk

import (
	"os"
	"path"
	"strconv"
	"strings"
)

// Location tells where a path lies, whatever is mounted by bind on the way: the
// file system, by its device, and the path in it. The path must be absolute and have
// no symlinks in it. "" where /proc does not tell. The fields of a line of mountinfo
// are in proc_pid_mountinfo(5).
func Location(full string) (device, inside string) {
	all, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", ""
	}
	at := ""
	for line := range strings.Lines(string(all)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		mount := unescapeMount(fields[4])
		if rest, ok := below(full, mount); ok && len(mount) >= len(at) { // of several there the last one counts
			at, device, inside = mount, fields[2], path.Join(unescapeMount(fields[3]), rest)
		}
	}
	return device, inside
}

// below returns what of a path is below dir, and whether it is dir or below it.
func below(full, dir string) (rest string, ok bool) {
	if full == dir || dir == "/" {
		return strings.TrimPrefix(full, dir), true
	}
	return strings.CutPrefix(full, dir+"/")
}

// unescapeMount reads a path of mountinfo, which has blanks as \040.
func unescapeMount(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+4 <= len(text) {
			if c, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}
