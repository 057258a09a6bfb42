// Package longpoll wakes requests that wait for a directory to change. Each directory
// that somebody waits for is a topic of the hub; requests join it, look at the directory,
// and wait until the topic wakes them.
//
//	hub := longpoll.New(config)
//	topic, wake, err := hub.Join(dir, state, nil)
//	defer func() { hub.Leave(topic) }()
//	// look at the directory: what happens from here on closes wake
//	<-wake
//
// No change after a Join is missed: a topic is heard before the directory is looked at.
// All topics wake when what the tree says of itself changes. If the host has no inotify
// watch left, a topic wakes its requests once a second. Requests are woken at most ten
// times a second, and their number is bounded.
//
// The file hub.go has it all.
package longpoll
