"""Email by SMTP: converts notifications to MIME, sends them over pooled connections, and classifies the replies."""
