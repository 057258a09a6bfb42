package wire

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"tidemark/pkg/mtree"
)

// FormatEpoch returns the value of Tidemark-Epoch, a decimal number (docs/protocol.md,
// "Headers of a listing"). ParseEpoch is its inverse.
func FormatEpoch(epoch uint64) string { return strconv.FormatUint(epoch, 10) }

// ParseEpoch reads a Tidemark-Epoch; no header, "", is the epoch 0. Unlike the other
// headers it must make sense: without it a reader cannot tell an older lineage. Errors
// wrap mtree.ErrListing.
func ParseEpoch(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	epoch, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: epoch %.40q", mtree.ErrListing, text)
	}
	return epoch, nil
}

// ParseTree reads a Tidemark-Tree: 32 hex digits; no header, "", is a tree without an id.
// Errors wrap mtree.ErrListing.
func ParseTree(text string) (string, error) {
	if raw, err := hex.DecodeString(text); text != "" && (err != nil || len(raw) != 16) {
		return "", fmt.Errorf("%w: tree id %.40q", mtree.ErrListing, text)
	}
	return text, nil
}
