package lister

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"tidemark/pkg/mtree/internal/disk"
)

// DirID returns the opaque id of a directory: 16 hex digits of HMAC-SHA-256 under the
// tree id over device, inode and birth time. It distinguishes a directory from another
// one of the same name, and does not disclose the inode. It is "" without a tree id.
func DirID(treeID string, info disk.Info) string {
	if treeID == "" {
		return ""
	}
	sec, nsec := info.BTime.Unix()
	var text [32]byte
	binary.BigEndian.PutUint64(text[0:], info.Node.Dev)
	binary.BigEndian.PutUint64(text[8:], info.Node.Ino)
	binary.BigEndian.PutUint64(text[16:], uint64(sec))
	binary.BigEndian.PutUint64(text[24:], uint64(nsec))
	mac := hmac.New(sha256.New, []byte(treeID))
	mac.Write(text[:])
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
