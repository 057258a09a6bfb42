// Package beneath opens paths of several components that must stay below a directory,
// whatever symlinks and mounts somebody puts there meanwhile.
//
// [Open] is one openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS. Kernels before
// 5.6 do not know that call, and some sandboxes refuse it: then a walk opens one
// component after another, with the same result. [Resolve] follows symlinks itself, one
// at a time, and returns a path without any, which Open then opens.
//
// All errors are plain errnos: EXDEV says that a path leads outside, ELOOP or ENOTDIR
// that there is a symlink.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	resolve.go  Resolve
//	open.go     Open
//	walk.go     the walk
package beneath
