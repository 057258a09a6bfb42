// Package world tests watch, serve and mirror as a whole: real programs on real file
// systems, and a model of the tree in memory that says what must come of it.
//
//	source <- watch
//	source -> serve -> mirror -> copy -> serve -> mirror -> copy of the copy
//
// A world is a list of steps, drawn from a seed. A step is a change of the tree, by some
// user, maybe at once with others; or a transition: a program is killed, stopped, or started
// with other options, a disk is full, a tree is put back as it was earlier; or a rest, at
// which everything is compared. Each step has all of its parameters:
//
//	world source=ext4 copy=tmpfs max-delete=100% first=watch
//	& create s0/k1/f7 17 300
//	as=4321 exchange s1/k0 s1/k3
//	restart watch kill
//	hard
//
// So steps can be left out, and the rest still means something: that is how a failure
// shrinks. A list in a file is replayed with
//
//	PROOF_CASE=file go test -count=1 -run '^TestWorld$' ./proof/world
//
// What must hold:
//
//   - At a rest, when watch --sync and mirror --wait-for have said that everything has
//     arrived, it has: the copy shows what the model has, or something newer.
//   - At a hard rest everything is put right, every option is as usual. Then names, types,
//     bytes, modes and nanosecond times of the source are those of the model, and of both
//     copies those of the source, times of directories included.
//   - The next pass of an idle mirror asks once.
//   - All the while an eye looks at both copies. What it sees was once in the source as a
//     whole, in that place. What it saw does not go while the source has it. A copy that is
//     complete by its stamp has everything that was published under that stamp.
//   - No program ends by itself, unless the world explains it (faults.go, remedy).
//
// coverage.txt shows how often each change came after each transition in some minutes of worlds.
//
// Its files stand in layers. Each uses what stands below it:
//
//	coverage.go                      which changes came after which transition
//	shrink.go                        leaves out steps while the rest still fails
//	play.go                          a list of steps from its beginning to its end
//	draw.go                          the steps of a seed
//	tables.go                        all changes and transitions
//	around.go                        trees, markers and disks: transitions
//	transition.go                    programs and their options: transitions
//	rest.go                          what is compared, and when
//	keep.go                          names that are one file; what backups keep
//	end.go                           how programs end, stop and go on
//	start.go                         how programs are started, and started again
//	apply.go                         a change on disk and in the model
//	world.go eye.go faults.go        all that a world has; who looks at the copies
//	program.go disks.go              programs, file systems
//	files.go trees.go                changes of files, changes of names and directories
//	change.go                        what a change is
//	pick.go                          draws paths, names, sizes
//	scan.go                          reads and compares trees
//	history.go                       what ever was in the source
//	model.go step.go                 the tree in memory; a step as a line
package world
