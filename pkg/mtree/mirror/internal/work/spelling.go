package work

import (
	"unicode"

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

// isSpelled reports whether a directory has all these entries under exactly these names. A name of
// ASCII has other spellings in another case only, and one such name tells whether the directory
// takes them for it. Other names are looked for. Cost: a statx; a scan if there are other names.
func isSpelled(dir *disk.Dir, all []shown) (bool, error) {
	var others []string
	asked := false
	for _, f := range all {
		switch spelled, ascii := otherCase(f.name); {
		case !ascii:
			others = append(others, f.name)
		case spelled != f.name && !asked:
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

// otherCase returns a name with the case of its first letter changed, or as it is if it has none.
// ascii is false if it has other characters than those of ASCII: then it is returned as it is.
func otherCase(name string) (spelled string, ascii bool) {
	at := -1
	for i := range len(name) {
		switch c := name[i]; {
		case c > unicode.MaxASCII:
			return name, false
		case at < 0 && (c|0x20 >= 'a' && c|0x20 <= 'z'):
			at = i
		}
	}
	if at < 0 {
		return name, true
	}
	return name[:at] + string(name[at]^0x20) + name[at+1:], true
}
