"""Mail by SMTP: pack to MIME, send over a pool of connections, sort the replies."""
