package lister

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"tidemark/pkg/mtree/internal/disk"
)

// fileID returns what is the same for all names of a file, and tells nobody its inode: the first eight
// bytes of DirID.
func fileID(key string, info disk.Info) uint64 { return binary.BigEndian.Uint64(idOf(key, info)) }

// DirID returns the opaque id of a directory: 16 hex digits of HMAC-SHA-256 under the
// tree id over device, inode and birth time. It distinguishes a directory from another
// one of the same name, and does not disclose the inode. It is "" without a tree id.
func DirID(treeID string, info disk.Info) string {
	if treeID == "" {
		return ""
	}
	return hex.EncodeToString(idOf(treeID, info))
}

// idOf returns eight bytes of a hash under key over device, inode and birth time.
func idOf(key string, info disk.Info) []byte {
	sec, nsec := info.BTime.Unix()
	var text [32]byte
	binary.BigEndian.PutUint64(text[0:], info.Node.Dev)
	binary.BigEndian.PutUint64(text[8:], info.Node.Ino)
	binary.BigEndian.PutUint64(text[16:], uint64(sec))
	binary.BigEndian.PutUint64(text[24:], uint64(nsec))
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(text[:])
	return mac.Sum(nil)[:8]
}
