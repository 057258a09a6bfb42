// Package credentials reads the files that say who somebody is: tokens, logins, certificates and the CAs
// that signed them. They are read again when they change, so that they can be renewed under a program that
// runs.
//
//	client := credentials.Client{CA: "ca.pem", TokenFile: "token"}  // how mirror presents itself
//	config, authorization, err := client.Load(log, "https://host/") // at the start
//	config, authorization = client.Now()                            // before each request
//
//	accepted, err := credentials.OpenTokens("tokens", log) // what serve accepts
//	tokens := accepted.Tokens()                            // at each request
//
// A file that changed and cannot be used changes nothing, and the log tells it once. A token file that
// went away lets nobody in. SIGHUP reads all of them again at once, by Reread.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	client.go    how mirror presents itself to a server
//	netrc.go     logins in ~/.netrc
//	tokens.go    the tokens that serve accepts
//	kept.go      files that are read again when they change
package credentials
