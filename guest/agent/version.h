#ifndef AGENT_VERSION_H
#define AGENT_VERSION_H

/* The agent's own version, and the highest protocol version it speaks. */
#define AGENT_VERSION "0.2.0"
#define PROTOCOL_VERSION 2

/* Device and port names that the host's domain gives us. */
#define AGENT_PORT_NAME "org.nova-hyper.agent.0"
#define LOG_PORT_NAME "org.nova-hyper.log.0"
#define CONSOLE_DEVICE "/dev/hvc0"

#endif
