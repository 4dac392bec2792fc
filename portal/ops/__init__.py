"""Operations: one command that brings the whole chain up, and the servers it embeds."""
