#ifndef AGENT_ACCOUNT_H
#define AGENT_ACCOUNT_H

/* Nobody waits for the answers to requests of a host that is gone. */
void account_forget_host(void);

#endif
