// Package logbook writes the log of the three programs for those who read it: short lines for people at a
// terminal, lines with a priority for the journal. A Handler in front of either, or of any other
// slog.Handler, sees to it that nothing is said twice a minute.
//
// At a terminal:
//
//	04:12:07 armed (backend fanotify, 12 directories, 340 files, 0 changed, 0.012 seconds)
//	04:12:09 warning: cannot read a directory: lost+found/: permission denied
//	         remedy: run watch with the right to read it, or --exclude it at watch and serve
//	04:13:09 warning: cannot read a directory: lost+found/: permission denied; again 7 times
//
// # What is the same
//
// Two warnings or errors are the same if their message and all their words are: path, error, reason. Numbers
// (counts, times) and the ports of clients may differ. Below warnings everything has to be equal. What comes
// again within a minute is counted. At the end of that minute it is told once, as it came last, with again=N.
//
// A record that says how something stands has an attribute of About. It is told at once when that changes: a
// source that is back, and away again five seconds later, is told three times.
//
// Of one message at most 100 different lines are told in a minute. The others are counted, and told in one line
// with more=N. Debug lines are all told, and with them everything else.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	handler.go             what is told, counted, and told later
//	sameness.go, about.go  what is the same; how something stands
//	people.go, journal.go  lines for a terminal; lines for the journal
//	words.go               an attribute in words
//	printable.go           what a terminal must not obey
package logbook
