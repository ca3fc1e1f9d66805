// What both processes are told by the environment; all of it is needed.
export const config = {
  port: Number(process.env.PEER_PORT),
  redis: {
    host: '127.0.0.1',
    port: Number(process.env.PEER_REDIS_PORT),
    password: process.env.PEER_REDIS_PASSWORD,
    enableAutoPipelining: true,
    maxRetriesPerRequest: null,
  },
  databaseUrl: process.env.PEER_DATABASE_URL,
  jwtSecret: process.env.PEER_JWT_SECRET,
  audit: process.env.PEER_AUDIT === '1',
};

export const QUEUE = 'audit';
