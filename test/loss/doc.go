// Package loss tries to make the delivery engine lose a change.
//
// A generator changes objects. Replicas of the engine, which are processes of their own,
// announce and deliver the changes to twenty subscribers, of which three refuse and lose
// acknowledgements at random and one is dead until the end. Meanwhile replicas and Redis
// are killed, and leaders are stopped for so long that another takes over, all by chance
// from a seed that is printed. At the end a checker that knows nothing of the engine
// compares the journal of the generator with those of the subscribers: each must have
// every change of its own once and in order. A notification may come again when its
// acknowledgement was lost, and then directly after itself; only a leader that was stopped
// amid sending, and goes on when another has taken over, may repeat one late.
//
// A build with the tag o2ims_inject_loss drops one event on purpose, and the same test
// then passes only if the checker notices.
package loss
