package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"tidemark/pkg/mtree"
)

// layout is how a name shows the time of the pass, in UTC. It has no colon: FAT takes none, and
// rsync and scp take what stands before one for a host.
const layout = "2006-01-02T15-04-05.000Z"

// nameOf returns the name for what the copy key loses in a pass that began at a time.
func nameOf(at mtree.Stamp, key string) string {
	text := at.Time().Format(layout)
	return text + "-" + checksum(text, key)
}

// checksum tells the directories of one copy from those of another, and from names that a person chose.
func checksum(text, key string) string {
	sum := sha256.Sum256([]byte("tidemark backup\x00" + text + "\x00" + key))
	return hex.EncodeToString(sum[:4])
}

// timeOf is the inverse of nameOf. It accepts only what nameOf returns for this copy.
func timeOf(name, key string) (mtree.Stamp, bool) {
	text, sum, _ := strings.Cut(name, "Z-")
	if text += "Z"; sum != checksum(text, key) { // guard: TestExpire, TestNames
		return mtree.Stamp{}, false
	}
	at, _ := time.Parse(layout, text)
	if at.Format(layout) != text {
		return mtree.Stamp{}, false
	}
	return mtree.FromTime(at), true
}
