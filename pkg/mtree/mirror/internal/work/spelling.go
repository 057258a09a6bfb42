package work

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"tidemark/pkg/mtree/internal/disk"
)

// A directory may take two spellings for one name although the copy's file system as a whole does
// not (Staging.Folds): on ext4 after chattr +F, or where letters are composed in two ways, on ZFS
// with normalization. What a whole listing is compared with are names that were read there, as they
// are spelled. statx for a name of a part shows an entry that is spelled otherwise, too.

// shown is an entry of the copy that statx showed under a name.
type shown struct {
	name string
	node disk.Node
}

// isSpelled reports whether a directory has all these entries under exactly these names. One name tells
// whether the directory takes another case of it for the same. Where letters may be composed in two ways
// (disk.Staging.Composes), names of other characters than ASCII's are looked for. Cost: a statx, and there
// a scan.
func isSpelled(dir *disk.Dir, all []shown, composes bool) (bool, error) {
	var others []string
	asked := false
	for _, f := range all {
		if composes && !isASCII(f.name) { // guard: TestAPartInAnotherSpelling
			others = append(others, f.name)
		}
		if spelled := otherCase(f.name); spelled != f.name && !asked {
			asked = true
			info, err := dir.Stat(spelled)
			if err == nil && info.Node == f.node { // guard: TestAPartInAnotherSpelling
				return false, nil
			}
			if err != nil && !disk.IsAbsent(err) { // guard: TestADiskThatFailsAPart
				return false, err
			}
		}
	}
	return dir.HasNames(others) // guard (returns true, nil): TestAPartInAnotherSpelling
}

func isASCII(name string) bool {
	return strings.IndexFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) < 0
}

// otherCase returns a name with the case of its first letter changed, or as it is if it has none.
func otherCase(name string) string {
	for at, r := range name {
		other := unicode.ToUpper(r)
		if other == r {
			other = unicode.ToLower(r)
		}
		if other != r {
			return name[:at] + string(other) + name[at+utf8.RuneLen(r):]
		}
	}
	return name
}
