package world

import "slices"

// transitions are all of them.
var transitions = slices.Concat(programTransitions, optionTransitions, treeTransitions)

func transitionOf(name string) *transition {
	for i := range transitions {
		if transitions[i].name == name {
			return &transitions[i]
		}
	}
	return nil
}

// changes are all kinds of changes.
var changes = slices.Concat(fileChanges, treeChanges)

func changeOf(name string) *change {
	for i := range changes {
		if changes[i].name == name {
			return &changes[i]
		}
	}
	return nil
}
